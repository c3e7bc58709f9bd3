"""A CLIP of two matrices in the file layout of the published one, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

WORDS = ["<|startoftext|>", "<|endoftext|>", "a", "photo", "of", "minivan", "rabbit", "red"]
MEAN, STD, SIDE = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4], 32


def vision_weights(dim: int) -> np.ndarray:
    """(12, dim): what `write_vision` multiplies the means of a picture's four quarters, channel by channel, with."""
    return np.random.default_rng(1).normal(size=(12, dim)).astype(np.float32)


def write_tiny_clip(cache: Path, dim: int = 512) -> None:
    """Write both halves as `<cache>/clip-ViT-B-32-{vision,text}/`."""
    write_vision(cache / "clip-ViT-B-32-vision", dim)
    write_text(cache / "clip-ViT-B-32-text", dim)


def write_vision(folder: Path, dim: int) -> None:
    folder.mkdir(parents=True)
    half = SIDE // 2
    pool = {"kernel_shape": [half, half], "strides": [half, half]}
    nodes = [
        helper.make_node("AveragePool", ["pixel_values"], ["quarters"], **pool),
        helper.make_node("Flatten", ["quarters"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["image_embeds"]),
    ]
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    _save(folder, nodes, [pixels], "image_embeds", dim, {"weights": vision_weights(dim)})
    preprocessor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": SIDE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


def write_text(folder: Path, dim: int) -> None:
    folder.mkdir(parents=True)
    table = np.random.default_rng(2).normal(size=(len(WORDS), dim)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["tokens", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["text_embeds"], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    constants = {"table": table, "last": np.array([2], np.int64), "middle": np.array([1], np.int64)}
    _save(folder, nodes, inputs, "text_embeds", dim, constants)
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"model_max_length": 77, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<|endoftext|>"}))


def _save(
    folder: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: str,
    dim: int,
    constants: dict[str, np.ndarray],
) -> None:
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", dim])]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "config.json").write_text(json.dumps({"pad_token_id": WORDS.index("<|endoftext|>")}))

"""MobileNetV2 trained on ImageNet, as packaged: the model that works everywhere without a download."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from video_assets.embedding.checks import rgb_pictures, unit_vectors
from video_assets.embedding.class_names import ClassNames
from video_assets.embedding.errors import EmbedderUnavailable, TextNotUnderstood

if TYPE_CHECKING:
    import onnxruntime

FOLDER = Path(__file__).parent / "mobilenet_v2"
NAME = "mobilenet_v2"
DIM = 1280
PREPROCESSING = "area224"
"""Names what `whole_frame` does; part of the version, so it changes with it."""

BATCH = 16
"""Pictures per run of the network: about 100 MB of activations, and no faster beyond."""

_SIDE = 224
_STRIDE = 32
_WIDEST = 4.0
_LABELS = 3


class Provenance(TypedDict):
    """What `provenance.json` beside the model says, as far as the code needs it."""

    sha256: dict[str, str]
    feature_length: float


@cache
def provenance() -> Provenance:
    """Read which files belong to the model."""
    record: Provenance = json.loads((FOLDER / "provenance.json").read_text())
    return record


def version() -> str:
    """Digest of the network and name of the preprocessing: what a picture's vector depends on."""
    return f"{provenance()['sha256']['model.onnx'][:12]}-{PREPROCESSING}"


def network_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which a picture of this size enters the network.

    About 224 x 224 pixels in the picture's own proportions (at most 4:1), in multiples of the network's
    stride of 32. It costs what the usual centre crop costs, and keeps the sides of a wide frame.
    """
    aspect = min(max(width / height, 1 / _WIDEST), _WIDEST) ** 0.5
    return _multiple(_SIDE / aspect), _multiple(_SIDE * aspect)


def _multiple(pixels: float) -> int:
    return max(1, round(pixels / _STRIDE)) * _STRIDE


def whole_frame(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize an RGB picture to `network_size`, bilinear with antialiasing, uncropped."""
    from PIL import Image

    height, width = network_size(*image.shape[:2])
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized)


class MobileNetV2:
    """Pooled features before the classifier; text by the classifier's own class vectors in the same space."""

    name = NAME
    dim = DIM

    def __init__(self, *, threads: int = 1) -> None:
        """Load the packaged files, checked against their recorded digests.

        Raises:
            EmbedderUnavailable: a file is missing or damaged.
        """
        self.version = version()
        self._session = _session(_checked("model.onnx"), threads)
        lines = _checked("labels.txt").read_text(encoding="utf-8").splitlines()
        self._synonyms = [line.split(", ") for line in lines]
        self._weights = np.load(_checked("class_weights.npy")).astype(np.float32)
        self._bias = np.load(_checked("class_bias.npy")).astype(np.float32)

    @cached_property
    def _names(self) -> ClassNames:
        """For text alone, which a worker that embeds frames never has: a quarter of its start."""
        return ClassNames(self._synonyms)

    @cached_property
    def _class_vectors(self) -> NDArray[np.float32]:
        return unit_vectors(self._weights)

    def embed_images(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See `Embedder.embed_images`."""
        pictures = [whole_frame(image) for image in rgb_pictures(images)]
        features = np.empty((len(pictures), DIM), np.float32)
        for batch in _batches(pictures):
            pixels = np.stack([pictures[index] for index in batch])
            features[batch] = self._session.run(["features"], {"images": pixels})[0]
        return unit_vectors(features)

    def embed_text(self, text: str) -> NDArray[np.float32]:
        """Mean of the unit class vectors of each thing named, and of the things.

        Raises:
            TextNotUnderstood: a word is no ImageNet class name.
        """
        try:
            things = self._names.classes_in(text)
        except TextNotUnderstood as error:
            general = "This model knows the 1000 ImageNet classes only; a CLIP model understands free text"
            remedy = f"{error.remedy}. {general}" if error.remedy else general
            raise TextNotUnderstood(error.item, error.cause, remedy) from None
        means = unit_vectors(np.stack([self._class_vectors[thing].mean(axis=0) for thing in things]))
        vector: NDArray[np.float32] = unit_vectors(means.mean(axis=0, keepdims=True))[0]
        return vector

    def labels(self, vectors: NDArray[np.float32]) -> list[list[str]]:
        """Three ImageNet labels each; the feature's length, lost in a unit vector, is taken as the usual."""
        logits = vectors @ self._weights.T * provenance()["feature_length"] + self._bias
        best = np.argsort(-logits, axis=1, kind="stable")[:, :_LABELS]
        return [[self._synonyms[index][0] for index in row] for row in best]


def _batches(pictures: Sequence[NDArray[np.uint8]]) -> Iterator[list[int]]:
    """Indexes of pictures of one size, `BATCH` at most."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, picture in enumerate(pictures):
        by_size.setdefault(picture.shape, []).append(index)
    for indexes in by_size.values():
        for start in range(0, len(indexes), BATCH):
            yield indexes[start : start + BATCH]


def _checked(file: str) -> Path:
    path = FOLDER / file
    remedy = "Install video-assets again; in a checkout, look whether Git fetched the file whole"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EmbedderUnavailable(NAME, f"its file {file} cannot be read: {error}", remedy) from None
    if digest != provenance()["sha256"][file]:
        raise EmbedderUnavailable(NAME, f"its file {file} is damaged, its sha256 is {digest}", remedy)
    return path


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Threads that spin while they wait take the core from the decoder beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

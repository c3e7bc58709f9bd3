"""CLIP ViT-B/32 (Radford et al., 2021) through fastembed: understands free text, downloaded on first use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from video_assets.embedding.checks import rgb_pictures, unit_vectors
from video_assets.embedding.errors import EmbedderUnavailable, EmbeddingFailed, TextNotUnderstood

NAME = "clip-vit-b-32"
_MODEL = "clip-ViT-B-32"
DIM = 512
VERSION = "qdrant-1"
"""Declared, not measured: it is asked for before the files are there. A change of the published files, of
fastembed's preprocessing or of this module that moves vectors is a new number."""

DEFAULT_CACHE = Path.home() / ".cache" / "video_assets" / "models"
BATCH = 16
HUB_TIMEOUT_S = 10.0

_HUB_OWNER = "Qdrant"
_NETWORK_FILE = "model.onnx"
_VISION_FILES = (_NETWORK_FILE, "preprocessor_config.json", "config.json")
_TEXT_FILES = (
    _NETWORK_FILE,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config.json",
)


class Clip:
    """Pictures and text in one space; a picture is scaled and centre-cropped as the model's own files say."""

    name = NAME
    version = VERSION
    dim = DIM

    def __init__(self, *, threads: int = 1, model_cache: Path = DEFAULT_CACHE) -> None:
        """Load both halves of the model, and download them first where they are not in `model_cache`.

        Raises:
            EmbedderUnavailable: fastembed is missing, the hub is out of reach, or the files do not load.
        """
        try:
            from fastembed import ImageEmbedding, TextEmbedding
        except ImportError as error:
            remedy = "Run: pip install 'video-assets[clip]'"
            raise EmbedderUnavailable(NAME, f"fastembed cannot be imported ({error})", remedy) from None
        vision = model_folder(f"{_MODEL}-vision", _VISION_FILES, model_cache)
        text = model_folder(f"{_MODEL}-text", _TEXT_FILES, model_cache)
        try:
            # Given a folder, fastembed looks nowhere else; left to search, it sleeps 39 s over an absent hub.
            self._vision = ImageEmbedding(
                f"{_HUB_OWNER}/{_MODEL}-vision", threads=threads, specific_model_path=str(vision)
            )
            self._text = TextEmbedding(f"{_HUB_OWNER}/{_MODEL}-text", threads=threads, specific_model_path=str(text))
        except Exception as error:  # onnxruntime, tokenizers and fastembed each raise their own
            raise EmbedderUnavailable(
                NAME,
                f"its files in {vision} or {text} do not load ({error})",
                "Remove them to download them again",
            ) from error

    def embed_images(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See `Embedder.embed_images`."""
        from PIL import Image

        pictures = [Image.fromarray(image) for image in rgb_pictures(images)]
        if not pictures:
            return np.empty((0, DIM), np.float32)
        return _unit(self._vision.embed(pictures, batch_size=BATCH))

    def embed_text(self, text: str) -> NDArray[np.float32]:
        """Embed free text; the model reads its first 77 tokens.

        Raises:
            TextNotUnderstood: the text is empty.
        """
        if not text.strip():
            raise TextNotUnderstood(repr(text), "it is empty", "Say in words what a picture shows")
        vector: NDArray[np.float32] = _unit(self._text.embed([text]))[0]
        return vector

    def labels(self, vectors: NDArray[np.float32]) -> list[list[str]]:
        """No labels: CLIP has no classes of its own."""
        return [[] for _ in vectors]


def _unit(rows: Iterable[NDArray[Any]]) -> NDArray[np.float32]:
    raw = np.stack(list(rows)).astype(np.float32)
    if raw.shape[1:] != (DIM,):
        raise EmbeddingFailed(NAME, f"its files gave vectors of shape {raw.shape[1:]}, not ({DIM},): another model")
    return unit_vectors(raw)


def model_folder(model: str, files: Sequence[str], model_cache: Path) -> Path:
    """Find the folder of a model's files, downloading it if need be.

    Looked for in this order: `<model_cache>/<model>/`, a snapshot in `model_cache` (the layout of the Hugging
    Face cache, and of fastembed's), the hub.

    Raises:
        EmbedderUnavailable: it is nowhere.
    """
    folder = model_cache / model
    if (folder / _NETWORK_FILE).is_file():
        return folder
    from huggingface_hub import model_info, snapshot_download

    repository = f"{_HUB_OWNER}/{model}"
    try:
        snapshot = Path(snapshot_download(repository, cache_dir=model_cache, local_files_only=True))
        if (snapshot / _NETWORK_FILE).is_file():
            return snapshot
    except OSError:
        pass  # not in the cache yet
    try:
        # The download's own requests take no timeout, so a silent hub is found out by this one.
        model_info(repository, timeout=HUB_TIMEOUT_S)
        return Path(snapshot_download(repository, cache_dir=model_cache, allow_patterns=list(files)))
    except Exception as error:  # requests', httpx' and the hub's own, by release
        raise EmbedderUnavailable(
            NAME,
            f"{repository} is not in {model_cache} and cannot be downloaded ({error})",
            f"Put its files into {folder} (VIDEO_ASSETS_MODEL_CACHE sets the folder above), "
            "or take this model out of VIDEO_ASSETS_EMBED_MODELS",
        ) from None

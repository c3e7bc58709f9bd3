"""The one interface of every model, and the names under which models are opened."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from video_assets.embedding import clip, mobilenet
from video_assets.embedding.errors import UnknownEmbedder


class Embedder(Protocol):
    """Turns pictures, and text where it can, into unit vectors of one space."""

    @property
    def name(self) -> str:
        """The name under which `open_embedder` opens it."""

    @property
    def version(self) -> str:
        """Changes whenever the same picture would get another vector; letters, digits, dots and dashes."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed_images(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed pictures.

        Args:
            images: RGB pictures, each (height, width, 3) uint8, of any sizes; taken one at a time.

        Returns:
            (n, dim) float32 unit vectors in the order given; (0, dim) for no pictures. A vector does not
            depend on the pictures beside it.

        Raises:
            EmbeddingFailed: an array is no RGB picture, or its vector has no direction.
        """

    def embed_text(self, text: str) -> NDArray[np.float32]:
        """Embed a query.

        Returns:
            (dim,) float32 unit vector; its dot product with a picture's vector ranks pictures.

        Raises:
            TextNotUnderstood: the model has no vector for this text.
        """

    def labels(self, vectors: NDArray[np.float32]) -> list[list[str]]:
        """What the pictures behind (n, dim) vectors show, most likely first; [] where the model cannot."""


class EmbedderIdentity(NamedTuple):
    """What of a model goes into ids, versions and table shapes."""

    version: str
    dim: int


_opening = Lock()


def open_embedder(name: str, *, threads: int = 1, model_cache: Path | None = None) -> Embedder:
    """Open a model; the same arguments give the same object within a process.

    Args:
        name: one of `embedder_names()`.
        threads: CPU threads a single call may use.
        model_cache: folder of models that are not part of the package; None is `clip.DEFAULT_CACHE`.

    Raises:
        UnknownEmbedder: no model has this name.
        EmbedderUnavailable: its package or its files are missing.
    """
    with _opening:
        return _open(name, threads, model_cache)


@lru_cache
def _open(name: str, threads: int, model_cache: Path | None) -> Embedder:
    if name == mobilenet.NAME:
        return mobilenet.MobileNetV2(threads=threads)
    if name == clip.NAME:
        return clip.Clip(threads=threads, model_cache=model_cache or clip.DEFAULT_CACHE)
    raise _unknown(name)


def embedder_names() -> list[str]:
    """Every name `open_embedder` knows, the default first."""
    return [mobilenet.NAME, clip.NAME]


def embedder_identity(name: str) -> EmbedderIdentity:
    """Version and vector length of a model, without loading it.

    Raises:
        UnknownEmbedder: no model has this name.
    """
    if name == mobilenet.NAME:
        return EmbedderIdentity(mobilenet.version(), mobilenet.DIM)
    if name == clip.NAME:
        return EmbedderIdentity(clip.VERSION, clip.DIM)
    raise _unknown(name)


def _unknown(name: str) -> UnknownEmbedder:
    return UnknownEmbedder(
        repr(name), "no model has this name", f"VIDEO_ASSETS_EMBED_MODELS takes {', '.join(embedder_names())}"
    )

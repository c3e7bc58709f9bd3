"""What may go into a model and what may come out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from video_assets.embedding.errors import EmbeddingFailed


def rgb_pictures(images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """The images, one at a time; `EmbeddingFailed` at one that is no (height, width, 3) uint8 picture with a pixel."""
    for number, image in enumerate(images, start=1):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise EmbeddingFailed(
                f"picture {number}",
                f"its array is {image.dtype} {image.shape}, a picture is uint8 (height, width, 3)",
            )
        yield image


def unit_vectors(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale (n, dim) vectors to length 1.

    Raises:
        EmbeddingFailed: a vector is zero or not finite: it has no direction.
    """
    lengths = np.linalg.norm(raw.astype(np.float64), axis=1, keepdims=True)
    usable = np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)
    if not usable.all():
        number = int(np.flatnonzero(~usable)[0])
        raise EmbeddingFailed(
            f"vector {number + 1} of {len(raw)}",
            f"the model gave a vector of length {lengths[number, 0]}, which has no direction",
        )
    scaled: NDArray[np.float32] = (raw / lengths).astype(np.float32)
    return scaled

"""How sharp and bright a frame is, and what it looks like in 64 bits: figures by which frames are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from video_assets.video.image import to_luma
from video_assets.video.orientation import Orientation

if TYPE_CHECKING:
    from av import VideoFrame

LUMA_WIDTH = 256
"""Pixels across in which a frame is measured, so that figures of cameras of any resolution compare."""

_MAX_HEIGHT = 1024
_HASH_SIDE, _HASH_WAVES = 32, 8

# Integers, so that every machine gets the same bits; flat pictures give exact zeros.
_COSINES: NDArray[np.int64] = np.round(
    np.cos(np.outer(np.arange(_HASH_WAVES), 2 * np.arange(_HASH_SIDE) + 1) * np.pi / (2 * _HASH_SIDE)) * 2**14
).astype(np.int64)


@dataclass(frozen=True, slots=True)
class FrameQuality:
    """What was measured of one frame as displayed: upright and cropped.

    All of it is measured on full-range luma (0 to 255) reduced by area to `LUMA_WIDTH` pixels across, whatever the
    size of the image. Narrower frames are measured as they are, very high ones at most 1,024 pixels high.

    Attributes:
        sharpness: variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy",
            2000), with the kernel 0 1 0, 1 -4 1, 0 1 0 (`cv2.Laplacian` with ksize 1) at every pixel that has four
            neighbours; 0 where there is none. The same scene is sharper the larger the figure; scenes differ.
        brightness: mean luma, 0 to 255.
        phash: 64-bit perceptual hash by DCT (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
            Functions", 2010), bits in the order of `imagehash.phash`: of the luma reduced to 32 × 32, the 8 × 8
            lowest waves of the DCT-II, row by row, 1 where above their median; the first is the highest bit.
    """

    sharpness: float
    brightness: float
    phash: int


def measure_quality(frame: VideoFrame, orientation: Orientation | None = None, *, label: str = "frame") -> FrameQuality:
    """Same frame, same figures, on every machine. Raises EncodeError."""
    from av import VideoFrame

    orientation = orientation or Orientation()
    width, height = orientation.apply_to_size(frame.width, frame.height)
    scale = min(1.0, LUMA_WIDTH / width, _MAX_HEIGHT / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    luma = orientation.apply(to_luma(frame, *orientation.apply_to_size(*size), label=label))
    gray = VideoFrame.from_ndarray(luma, format="gray")
    return FrameQuality(
        sharpness=_laplacian_variance(luma),
        brightness=float(luma.mean()),
        phash=_phash(to_luma(gray, _HASH_SIDE, _HASH_SIDE, label=label)),
    )


def hamming_distance(left: int, right: int) -> int:
    """In how many of their 64 bits two hashes differ; about 32 where the pictures have nothing in common."""
    return (left ^ right).bit_count()


def _laplacian_variance(luma: NDArray[np.uint8]) -> float:
    values = luma.astype(np.int16)
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * values[1:-1, 1:-1]
    if not laplacian.size:
        return 0.0
    # Sums of whole numbers are exact in float64, in whatever order they are added.
    exact = laplacian.astype(np.float64)
    mean = exact.sum() / exact.size
    return max(0.0, float(np.square(exact).sum() / exact.size - mean * mean))


def _phash(luma: NDArray[np.uint8]) -> int:
    waves = _COSINES @ luma.astype(np.int64) @ _COSINES.T
    # np.median would import numpy.ma, which takes longer than a frame.
    lower, upper = np.sort(waves, axis=None)[31:33]
    return int.from_bytes(np.packbits(waves > (lower + upper) / 2).tobytes(), "big")

"""A frame's planes as a JPEG holds them, without a round trip through RGB.

JFIF means 8-bit full-range BT.601. Another matrix or range is undone in one linear step, in floating point, rounded
once. Chroma samples stay where they are; what another matrix takes from them into luma is that of their own block.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from video_assets.video.colours import BT601, FULL, LUMA_WEIGHTS, matrix_of, range_of

if TYPE_CHECKING:
    from av import VideoFrame

Plane = NDArray[np.uint8]

_FORMAT = re.compile(r"yuvj?4(20|22|44)p(9|10|12|14|16)?(le)?")
_BLOCK_ROWS = 144
"""Luma rows converted at a time: what a core's cache holds."""


class JpegPlanes(NamedTuple):
    """Full-range BT.601. `cb` and `cr` have the size of `luma` or, rounded up, half of it in either direction."""

    luma: Plane
    cb: Plane
    cr: Plane


def jpeg_planes(frame: VideoFrame, *, label: str = "frame") -> JpegPlanes | None:
    """The planes, or None for a format that is no planar YCbCr.

    Raises:
        EncodeError: a colour system that cannot be converted.
    """
    name = _FORMAT.fullmatch(frame.format.name)
    if name is None:
        return None
    bits = int(name[2] or 8)
    luma, cb, cr = (_plane(frame, number, bits) for number in range(3))
    transfer = _transfer(matrix_of(frame, label), range_of(frame), bits)
    if transfer is None:
        return JpegPlanes(luma, cb, cr)
    made = JpegPlanes(np.empty(luma.shape, np.uint8), np.empty(cb.shape, np.uint8), np.empty(cr.shape, np.uint8))
    down = -(-luma.shape[0] // cb.shape[0])
    for top in range(0, luma.shape[0], _BLOCK_ROWS):
        rows, chroma_rows = slice(top, top + _BLOCK_ROWS), slice(top // down, (top + _BLOCK_ROWS) // down)
        u, v = cb[chroma_rows].astype(np.float32), cr[chroma_rows].astype(np.float32)
        _store(transfer.cb.of_chroma(u, v), made.cb[chroma_rows])
        _store(transfer.cr.of_chroma(u, v), made.cr[chroma_rows])
        y = luma[rows].astype(np.float32)
        y *= transfer.luma.y
        _add_blocks(y, transfer.luma.of_chroma(u, v))
        _store(y, made.luma[rows])
    return made


def _plane(frame: VideoFrame, number: int, bits: int) -> NDArray[Any]:
    """A view of the plane, rows × columns."""
    plane: Any = frame.planes[number]
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    rows: NDArray[Any] = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
    return rows[: plane.height, : plane.width]


class _Row(NamedTuple):
    """One component of the result: y·Y + u·Cb + v·Cr + offset."""

    y: np.float32
    u: np.float32
    v: np.float32
    offset: np.float32

    def of_chroma(self, u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.float32]:
        total = u * self.u
        total += v * self.v
        total += self.offset
        return total


class _Transfer(NamedTuple):
    luma: _Row
    cb: _Row
    cr: _Row


@lru_cache
def _transfer(matrix: int, color_range: int, bits: int) -> _Transfer | None:
    """From coded numbers to 8-bit full-range BT.601; None where they are that already."""
    if (matrix, color_range, bits) == (BT601, FULL, 8):
        return None
    unit = 2.0 ** (bits - 8)
    black, luma_range, chroma_range = (0, 255, 255) if color_range == FULL else (16, 219, 224)
    if color_range == FULL:
        luma_range = chroma_range = (2**bits - 1) / unit
    scale = np.diag([255 / (luma_range * unit), 255 / (chroma_range * unit), 255 / (chroma_range * unit)])
    change = _to_ycbcr(BT601) @ np.linalg.inv(_to_ycbcr(matrix)) @ scale
    zero = np.array([black, 128, 128]) * unit
    # Half a step more, so that cutting off rounds.
    offset = np.array([0.5, 128.5, 128.5]) - change @ zero
    luma, cb, cr = (_Row(*map(np.float32, (*change[n], offset[n]))) for n in range(3))
    return _Transfer(luma, cb, cr)


def _to_ycbcr(matrix: int) -> NDArray[np.float64]:
    """R'G'B' → Y'CbCr, chroma in -0.5…0.5 (ITU-T H.273, 8.3)."""
    kr, kb = LUMA_WEIGHTS[matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    blue, red = (np.array([0, 0, 1]) - luma) / (2 * (1 - kb)), (np.array([1, 0, 0]) - luma) / (2 * (1 - kr))
    return np.stack([luma, blue, red])


def _add_blocks(y: NDArray[np.float32], term: NDArray[np.float32]) -> None:
    """Adds to each luma sample the term of the chroma block that it is in."""
    down, across = -(-y.shape[0] // term.shape[0]), -(-y.shape[1] // term.shape[1])
    wide = term.repeat(across, 1)[:, : y.shape[1]]
    for row in range(down):
        part = y[row::down]
        part += wide[: len(part)]


def _store(values: NDArray[np.float32], target: Plane) -> None:
    np.clip(values, 0, 255, out=values)
    target[...] = values

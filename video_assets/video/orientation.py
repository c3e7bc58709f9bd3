"""How stored pixels are turned and mirrored for display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame

Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Orientation:
    """Transpose (swap rows and columns), then mirror left-right (`hflip`), then top-bottom (`vflip`)."""

    transposed: bool = False
    hflip: bool = False
    vflip: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether more than a rotation is needed."""
        return self.transposed ^ self.hflip ^ self.vflip

    @property
    def rotation(self) -> int:
        """Degrees clockwise: 0, 90, 180 or 270; of a mirrored picture, before a left-right mirror."""
        if self.mirrored:
            return Orientation(self.transposed, not self.hflip, self.vflip).rotation
        if self.transposed:
            return 90 if self.hflip else 270
        return 180 if self.hflip else 0

    def apply_to_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as displayed."""
        return (height, width) if self.transposed else (width, height)

    def apply(self, pixels: NDArray[Pixel]) -> NDArray[Pixel]:
        """Rows × columns (× channels) as displayed, contiguous in memory."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        if self.hflip:
            pixels = pixels[:, ::-1]
        if self.vflip:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


def orientation_of(frame: VideoFrame) -> Orientation:
    """From the display matrix a decoded frame carries; angles in between go to the nearest right angle.

    The matrix [a b u; c d v; x y w] (ISO/IEC 14496-12, 6.2.2) sends column x and row y, rows counted
    downwards, to x' = a·x + c·y and y' = b·x + d·y.
    """
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data
    matrix = next((data for data in side_data if data.type == Type.DISPLAYMATRIX), None)
    if matrix is None or matrix.buffer_size < 36:
        return Orientation()
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(matrix), dtype=np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, hflip=c < 0, vflip=b < 0)
    return Orientation(hflip=a < 0, vflip=d < 0)

"""What a frame's numbers mean: its YCbCr matrix and range, declared or as players take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from video_assets.video.errors import EncodeError

if TYPE_CHECKING:
    from av import VideoFrame

BT709, FCC, BT601, SMPTE240M, BT2020 = 1, 4, 5, 7, 9
LIMITED, FULL = 1, 2

LUMA_WEIGHTS = {
    BT709: (0.2126, 0.0722),
    FCC: (0.30, 0.11),
    BT601: (0.299, 0.114),
    SMPTE240M: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
"""Kr and Kb of each matrix (ITU-T H.273, table 4)."""

# AVColorSpace → the matrices above. 5 (BT.470BG) and 6 (SMPTE 170M) are BT.601's; 10 is BT.2020 of constant luminance.
_MATRICES = {1: BT709, 4: FCC, 5: BT601, 6: BT601, 7: SMPTE240M, 9: BT2020, 10: BT2020}
_RGB, _UNSPECIFIED = 0, 2


def matrix_of(frame: VideoFrame, label: str) -> int:
    """One of the matrices above; where none is declared, BT.709 from 1280 × … or … × 577 pixels on, else BT.601.

    Raises:
        EncodeError: a colour system that cannot be converted.
    """
    declared = int(frame.colorspace)
    if declared in (_RGB, _UNSPECIFIED) or declared not in range(15):
        return BT709 if frame.width >= 1280 or frame.height > 576 else BT601
    if declared not in _MATRICES:
        raise EncodeError(label, f"has colour system {declared} (AVColorSpace), which cannot be converted")
    return _MATRICES[declared]


def range_of(frame: VideoFrame) -> int:
    """`LIMITED` or `FULL`. Where none is declared, limited, but full for RGB, `yuvj…` and gray formats."""
    declared = int(frame.color_range)
    if declared in (LIMITED, FULL):
        return declared
    name = frame.format.name
    return FULL if frame.format.is_rgb or name.startswith(("yuvj", "gray")) else LIMITED

"""Finding the black bars of a letterboxed or pillarboxed video."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from video_assets.video.container import Source
from video_assets.video.crop import Box
from video_assets.video.decode import SampledFrames
from video_assets.video.image import to_luma
from video_assets.video.index import VideoIndex
from video_assets.video.media_file import MediaFile
from video_assets.video.sampling import EverySeconds

FRAMES = 12
"""Frames looked at, evenly spread over the video."""

BLACK = 20
"""Full-range luma up to which a pixel is black: also that of a limited-range video that is marked as full."""

RINGING, _RINGING_LINES = 48, 8
"""What compression makes of the black next to the picture, within one block."""

_UNEVEN = 8


def find_picture(source: Source | MediaFile, index: VideoIndex, *, label: str = "") -> Box | None:
    """What lies between the black bars, by 12 frames spread over the video; None where there are no bars.

    A bar is whole rows (or columns) from the edge on, none of whose pixels is brighter than black in any of the
    frames, so that one dark frame cuts nothing; and the ringing beside them. Bars come in pairs, above and below or
    left and right, of equal width but for 8 pixels: a night sky alone is none. The box has even edges, towards its
    inside. Frames that may show damage are not looked at; once a frame shows that there are no bars, no more are
    decoded.

    Raises:
        UnreadableMedia, NotAVideo, NoVideoStream, DecodeError, EncodeError.
    """
    step = Fraction(index.duration_s) / FRAMES if index.duration_s > 0 else Fraction(1)
    brightest: NDArray[np.uint8] | None = None
    frames = SampledFrames(source, EverySeconds(step), index=index, label=label)
    for _, frame in frames:
        if frames.damaged:
            continue
        luma = to_luma(frame, frame.width, frame.height, label=label)
        if brightest is None:
            brightest = luma
        elif brightest.shape != luma.shape:
            return None
        else:
            np.maximum(brightest, luma, out=brightest)
        if not any(lines[0] <= BLACK and lines[-1] <= BLACK for lines in _peaks(brightest)):
            return None
    return None if brightest is None else _picture(index.orientation.apply(brightest))


def _peaks(luma: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The brightest pixel of each row, and of each column."""
    return luma.max(axis=1), luma.max(axis=0)


def _picture(luma: NDArray[np.uint8]) -> Box | None:
    rows, columns = _peaks(luma)
    (top, bottom), (left, right) = _between_bars(rows), _between_bars(columns)
    whole = (top, bottom, left, right) == (0, len(rows), 0, len(columns))
    return None if whole or top >= bottom or left >= right else Box(left, top, right - left, bottom - top)


def _between_bars(peaks: NDArray[np.uint8]) -> tuple[int, int]:
    """First line within the bars, and first beyond; all lines where there is no pair of bars."""
    before, after = _bar(peaks), _bar(peaks[::-1])
    if not (before and after) or abs(before - after) > _UNEVEN:
        return 0, len(peaks)
    end = len(peaks) - after
    return before + before % 2, end - end % 2


def _bar(peaks: NDArray[np.uint8]) -> int:
    """How many lines the bar at the beginning has."""
    black = _leading(peaks <= BLACK)
    return black and black + _leading(peaks[black : black + _RINGING_LINES] <= RINGING)


def _leading(holds: NDArray[np.bool_]) -> int:
    """For how many elements from the first on it holds."""
    return len(holds) if holds.all() else int(holds.argmin())

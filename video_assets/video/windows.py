"""Fixed windows of a video: where it may be cut without re-encoding, decided on its index alone.

Times count from the first presented frame, as in sampling. Window k of an exact cut (`transcode`) holds the frames
from k·`seconds` to before (k+1)·`seconds`; without frames there it does not exist. A cut at entries (`remux`) takes
the entries for samples of rule F1: a window begins at the first clean entry at or after k·`seconds`, for each k; where
entries are further apart, one stands for several k, and the window has the last of them for its number.

Either way every presented frame is in exactly one window, and windows are in order of time and of number.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from video_assets.errors import VideoAssetsError
from video_assets.video.index import VideoIndex
from video_assets.video.packets import NO_TIME

if TYPE_CHECKING:
    from collections.abc import Iterator


class CannotCut(VideoAssetsError):
    """A video that cannot be cut at its entries without a change to some frame. As a whole it is as good as before."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a video's packets that decodes by itself to exactly its own frames.

    Attributes:
        number: k, from 0; numbers may be left out, see the module.
        first, stop: its packets by their numbers in file order, `stop` not included.
        start_pts, end_pts: from its first presented frame to the next window's, or to the end of the video.
    """

    number: int
    first: int
    stop: int
    start_pts: int
    end_pts: int


@dataclass(frozen=True, slots=True)
class WindowClip:
    """A window as a file of its own, whose first presented frame is at 0.

    Attributes:
        number: k, from 0.
        start_pts, end_pts: in the source's time base; `end_pts` is where the next window starts.
        suffix: `.mp4` or `.mkv`.
        file: the whole file, readable until the next window is asked for.
        index: what a reader finds in it.
    """

    number: int
    start_pts: int
    end_pts: int
    suffix: str
    file: BinaryIO
    index: VideoIndex


def fits_one_window(index: VideoIndex, seconds: Fraction) -> bool:
    """Whether every frame is in window 0, so that there is nothing to cut."""
    if (index.pts == NO_TIME).any() or not len(index.presented):
        return index.duration_s <= seconds
    times = index.pts[index.presented]
    return (int(times[-1]) - int(times[0])) * index.time_base < seconds


def plan_windows(index: VideoIndex, seconds: Fraction, *, label: str) -> tuple[Window, ...]:
    """The windows of a cut at entries, two or more.

    Raises:
        CannotCut: no entry makes a clean cut, or times or edit lists cannot be carried over.
    """
    if seconds <= 0:
        raise ValueError(f"a window lasts more than 0 seconds, not {seconds}")
    _check_times(index, label)
    start = int(index.pts[index.presented[0]])
    starts = [(0, 0, start)]
    for first in _clean_entries(index):
        pts = int(index.pts[first])
        number = int((pts - start) * index.time_base / seconds // 1)
        if number > starts[-1][0]:
            starts.append((number, first, pts))
    if len(starts) == 1:
        cause = index.doubt if index.doubt and not index.entry.any() else "frames across each depend on one another"
        raise CannotCut(label, f"no key frame from {float(seconds):g} s on makes a clean cut: {cause}")
    ends = [(first, pts) for _, first, pts in starts[1:]]
    ends.append((len(index.pts), end_pts(index, start)))
    return tuple(Window(*begin[:2], end[0], begin[2], end[1]) for begin, end in zip(starts, ends, strict=True))


def end_pts(index: VideoIndex, start_pts: int) -> int:
    """Where the last frame of a video that starts at `start_pts` ends."""
    return start_pts + round(Fraction(index.duration_s) / index.time_base)


def _check_times(index: VideoIndex, label: str) -> None:
    if (index.pts == NO_TIME).any():
        raise CannotCut(label, "packets have no presentation times")
    if len(np.unique(index.pts)) != len(index.pts):
        raise CannotCut(label, "two packets have the same presentation time")
    if not len(index.presented):
        raise CannotCut(label, "no frame is presented")
    if (index.pts[index.discard] > index.pts[index.presented[0]]).any():
        raise CannotCut(label, "an edit list hides frames after the first presented one")


def _clean_entries(index: VideoIndex) -> Iterator[int]:
    """Entries after which comes no frame that is presented before them, and before which none that is after."""
    latest_before: NDArray[np.int64] = np.maximum.accumulate(index.pts)[:-1]
    earliest_from: NDArray[np.int64] = np.minimum.accumulate(index.pts[::-1])[::-1]
    clean = index.entry[1:] & (latest_before < index.pts[1:]) & (earliest_from[1:] == index.pts[1:])
    return iter((np.flatnonzero(clean) + 1).tolist())

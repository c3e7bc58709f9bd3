"""Containers that are written: their bytes depend on what is put into them alone, and no time is shifted or rounded."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.container import OutputContainer

_FORMATS = {".mp4": "mp4", ".mkv": "matroska"}

_WRITE_BYTES = 256 * 1024
"""What is written at a time. PyAV's 32 kB cost twice the CPU where frames are copied."""


def open_output(file: BinaryIO, suffix: str, time_base: Fraction) -> OutputContainer:
    """A container for packets whose times are multiples of `time_base` and whose first frame is at 0.

    Args:
        file: writable and seekable; left open.
        suffix: `.mp4` or `.mkv`. Matroska rounds times to milliseconds.
    """
    import av

    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    if suffix == ".mp4":
        # The unit of an edit list's lengths: a coarser one could cut off the last frame.
        options["movie_timescale"] = str(time_base.denominator)
    return av.open(file, "w", format=_FORMATS[suffix], container_options=options, buffer_size=_WRITE_BYTES)


def last_length(times: NDArray[np.int64], end: int) -> int:
    """How long the last of the frames at `times` (in order) lasts in their file, where the next is shown at `end`.

    At most the median of the others: MP4 has lengths in decode order only, so that of the frame shown last is not told
    apart from another's, and the rest of a long one would read as footage that is missing.
    """
    to_end = end - int(times[-1])
    return min(to_end, int(np.median(np.diff(times)))) if len(times) > 1 else to_end

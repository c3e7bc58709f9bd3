"""What a container declares of a stream, and the time its packets take up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from video_assets.video.packets import NO_TIME, Packets

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Span:
    """Presented time in units of the time base: `count` frames from `start`, the last of them `last` later,
    the end of that one `length` later."""

    start: int
    count: int
    last: int
    length: int

    @classmethod
    def of(cls, times: NDArray[np.int64], duration: NDArray[np.int64]) -> Span:
        if not len(times) or (times == NO_TIME).any():
            length = int(duration.sum())
            return cls(0, len(times), length - _usual(duration), length)
        start, last = int(times.min()), int(times.max())
        tail = int(duration[np.argmax(times)]) or _usual(duration)
        return cls(start, len(times), last - start, last + tail - start)

    def rate(self, time_base: Fraction, declared: Fraction | None) -> Fraction | None:
        """Frames per second; the container's figure where it fits the times, which may be rounded."""
        if self.count < 2 or self.last <= 0:
            return None
        exact = Fraction(self.count - 1) / (self.last * time_base)
        if declared and abs((self.count - 1) / declared - self.last * time_base) <= 2 * time_base:
            return declared
        return exact


def _usual(lengths: Iterable[int]) -> int:
    common = Counter(lengths).most_common(1)
    return int(common[0][0]) if common else 0


def declared_duration_s(
    container: InputContainer, stream: VideoStream, span: Span, time_base: Fraction, other_end_s: float
) -> float | None:
    """The stream's own declared duration, else the container's where this stream must fill it."""
    if container.format.name == "avi" and stream.frames:
        # FFmpeg shrinks an AVI's duration to the file it finds; the header's count is in frames of the time base.
        if stream.frames >= _AVI_UNFINISHED:
            return None
        return float(stream.frames * time_base)
    if stream.duration:
        return float(stream.duration * time_base)
    start_s = float(span.start * time_base)
    if (tag := stream.metadata.get("DURATION")) and (end_s := _clock_s(tag)):
        # Matroska counts to the end of the stream from 0, not from its first frame.
        return max(end_s - start_s, 0.0)
    if not container.duration or container.format.name not in _DECLARING:
        return None
    end_s = container.duration / 1_000_000
    if other_end_s >= end_s - 0.5:
        return None
    return max(end_s - start_s, 0.0)


def declared_frames(
    container: InputContainer, stream: VideoStream, packets: Packets, dts: NDArray[np.int64]
) -> int | None:
    """By the tables of MP4 (edit lists applied), or by the header of AVI; packets without data left out.

    Matroska's statistics tags are left alone: a program that cuts a file copies them as they were.
    """
    if container.format.name.startswith("mov,"):
        return max(len(stream.index_entries) - packets.empty, 0) or None
    if container.format.name == "avi" and 0 < stream.frames < _AVI_UNFINISHED and (dts != NO_TIME).all():
        # The header counts empty packets too, where no frame was taken. They are not read, but take up time.
        empty = int(dts.max()) - int(dts.min()) + 1 - len(dts)
        return max(stream.frames - empty, 0)
    return None


# What FFmpeg writes before it knows, and leaves where it cannot go back.
_AVI_UNFINISHED = 1 << 30

# In the others FFmpeg estimates the duration from the data itself, so it declares nothing.
_DECLARING = ("matroska,webm", "flv")


def _clock_s(text: str) -> float | None:
    """`HH:MM:SS.fraction` in seconds."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None

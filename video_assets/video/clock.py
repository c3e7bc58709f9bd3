"""When decoded frames are presented, also where their container does not say."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from video_assets.video.index import VideoIndex
from video_assets.video.packets import NO_TIME

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream


class FrameClock:
    """Presentation times of decoded frames, also where the container gives none.

    As FFmpeg's own best effort: the frame's time, unless such times have gone wrong more often than decode
    times have, and the index has doubts too; then the decode time. Where there is neither, one frame after the
    one before; the first frames so that they lead up to the first time there is.
    """

    def __init__(self, time_base: Fraction, stream: VideoStream, index: VideoIndex | None = None) -> None:
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self._step = max(round(1 / (rate * time_base)), 1)
        self._first = 0 if index is None else _before_the_first(index, self._step)
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._last: int | None = None
        self._faults_pts = self._faults_dts = 0
        self._trusted = index is not None and not index.doubt
        self.derived = 0

    @property
    def disordered(self) -> int:
        """Frames that came out with a time not after the one before, where the packets' times are in order."""
        return self._faults_pts if self._trusted else 0

    def time_of(self, frame: VideoFrame) -> int:
        """The time of the next frame that came out, in units of the time base."""
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self._faults_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faults_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        usable = pts is not None and (self._trusted or self._faults_pts <= self._faults_dts or dts is None)
        time = pts if usable else dts
        if not usable:
            self.derived += 1
        if time is None:
            time = self._first if self._last is None else self._last + (frame.duration or self._step)
        self._last = time
        return time


def _before_the_first(index: VideoIndex, step: int) -> int:
    """When the stream began, if its first packets lack their times; 0 if all do."""
    known = np.flatnonzero(index.pts != NO_TIME)
    return int(index.pts[known].min()) - int(known[0]) * step if len(known) else 0

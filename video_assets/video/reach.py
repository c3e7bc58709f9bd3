"""How far damage reaches: from the packet that is hit to where decoding starts anew."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from video_assets.video.index import VideoIndex
from video_assets.video.random_access import has_rules

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.codeccontext import VideoCodecContext

MOST_WAITING = 17
"""A decoder of H.264 or HEVC keeps at most 16 frames back: what has not come out after 17 more packets never will."""


class Origin(NamedTuple):
    """Where a decoded frame is from: its packet, and the first packet from which damage would reach it."""

    first: int
    packet: int


class DamageReach:
    """Which frames may show damage. Packets, and the frames they become, go by their number in decode order.

    Damage reaches every frame decoded from the packet that is hit on, whether another frame refers to that one or not,
    to before the next clean start; and the frames decoded after that start which come out before it (leading frames of
    an open group), as they may refer to what came before. Frames decoded before the packet that is hit are not reached,
    whenever they are presented. A start that is hit itself is none.

    Clean starts are the index's entries; for codecs without rules for them (MPEG-1, -2, -4) the container's key frames.
    """

    def __init__(self, index: VideoIndex, context: VideoCodecContext) -> None:
        from av.codec.context import Flags

        context.flags |= Flags.copy_opaque  # What is put on a packet comes out on its frame.
        clean: NDArray[np.bool_] = index.entry if has_rules(index.codec) else index.keyframe
        self._starts: list[int] = np.flatnonzero(clean).tolist()
        self._hits: list[int] = []
        self._waiting: dict[int, int | None] = {}
        self._shown_start = -1
        # FFmpeg's decoders with error concealment (`er`) tell of it only on the frame that comes out, later than
        # frames that refer to it; the others tell as they decode.
        self._tells_late = index.codec not in _TELLS_AT_ONCE
        # dav1d tells of a packet only when it gets the next one. Or a packet holds the second field of a frame.
        self._lag = int(index.codec == "av1" or index.interlaced)
        self._last_in = -1

    def goes_in(self, number: int, packet: Packet[Any]) -> None:
        """A packet is about to be decoded."""
        packet.opaque = number
        self._last_in = number
        if self._tells_late:
            self._waiting[number] = packet.pts
            if len(self._waiting) > MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]

    def hit(self, number: int) -> None:
        """A packet is damaged, or what lies before it is missing."""
        for either in range(max(number - self._lag, 0), number + 1):
            bisect.insort(self._hits, either)

    def came_out(self, frame: VideoFrame) -> Origin:
        """Notes on the next frame out of the decoder where it is from, and whether FFmpeg marks it."""
        number, pts = frame.opaque, frame.pts
        assert isinstance(number, int)
        if frame.is_corrupt:
            self.hit(number)
        self._waiting.pop(number, None)
        if pts is not None:
            for other in [other for other, time in self._waiting.items() if time is not None and time <= pts]:
                del self._waiting[other]
        origin = Origin(self._first(number), number)
        frame.opaque = origin
        return origin

    def _first(self, number: int) -> int:
        place = bisect.bisect_right(self._starts, number) - 1
        start = self._starts[place] if place >= 0 else 0
        if start == number:
            self._shown_start = max(self._shown_start, start)
        if start <= self._shown_start:
            return start
        return self._starts[place - 1] if place > 0 else 0

    def all_came_out(self) -> None:
        """The decoder is empty."""
        self._waiting.clear()
        self._last_in += self._lag

    def settled(self, frame: VideoFrame) -> bool:
        """Whether all that was decoded before a frame has come out, so that no damage in it is still untold."""
        number = origin_of(frame).packet
        return number + self._lag <= self._last_in and not any(other < number for other in self._waiting)

    def reaches(self, frame: VideoFrame) -> bool:
        """Whether a frame may show damage."""
        first, number = origin_of(frame)
        place = bisect.bisect_left(self._hits, first)
        return place < len(self._hits) and self._hits[place] <= number


def origin_of(frame: VideoFrame) -> Origin:
    """Where a frame that `came_out` is from."""
    origin = frame.opaque
    assert isinstance(origin, Origin)
    return origin


_TELLS_AT_ONCE = frozenset({"hevc", "vp8", "vp9", "av1", "mjpeg"})

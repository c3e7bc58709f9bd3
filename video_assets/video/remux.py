"""Windows of a video cut at entries, their packets copied as they are: nothing is decoded, no pixel changes.

A window is an MP4, or a Matroska file where MP4 has no place for the codec. It holds the video alone. Presentation
times are the source's, shifted so that the first frame is at 0, in a time base that holds each of them exactly; frames
that an edit list hides before the first one stay, and stay hidden. Each window is read back and held against the
source's index before it is handed out. Same source, same windows: same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from video_assets.video.container import Source, label_of, open_video, reason_of
from video_assets.video.errors import DecodeError, MediaError
from video_assets.video.index import VideoIndex, index_video
from video_assets.video.mux import last_length, open_output
from video_assets.video.truncation import with_truncation
from video_assets.video.windows import CannotCut, Window, WindowClip

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream

NOT_IN_MP4 = frozenset({"vp8"})
"""Codecs with entries (see `random_access`) that FFmpeg does not write into MP4."""

_SHAPE = (
    "codec",
    "pixel_format",
    "width",
    "height",
    "orientation",
    "sample_aspect_ratio",
    "colorspace",
    "color_range",
)


class WindowCopies:
    """Iterate once for the windows as files; then read `problem`.

        copies = WindowCopies(source, index, plan_windows(index, seconds, label=name), label=name)
        for clip in copies: ...
        if copies.problem: ...

    What a container marks as damaged is copied as it is.

    Args:
        source: a path or a seekable binary file.
        index: the file's index.
        windows: a plan over it.
        label: the item named in errors; by default the path.

    Raises:
        CannotCut: while iterating, where a window does not hold exactly what the source does.
        UnreadableMedia, NotAVideo, NoVideoStream: the source, while iterating.
    """

    def __init__(self, source: Source, index: VideoIndex, windows: Sequence[Window], *, label: str = "") -> None:
        self._source, self._index, self._windows = source, index, windows
        self._label = label_of(source, label)
        self._suffix = ".mkv" if index.codec in NOT_IN_MP4 else ".mp4"
        self._incomplete = 0
        self._stopped = ""

    @property
    def start_pts(self) -> int:
        """Presentation time of the source's first presented frame."""
        return self._windows[0].start_pts

    @property
    def problem(self) -> MediaError | None:
        """What is wrong with the source as its container tells, known after the last window."""
        said = [f"{self._incomplete} packets are incomplete"] if self._incomplete else []
        said += [f"reading stopped early: {self._stopped}"] if self._stopped else []
        damage = DecodeError(self._label, "; ".join(said), "Fetch the file again, or repair it") if said else None
        return with_truncation(self._index, damage, label=self._label)

    def __iter__(self) -> Iterator[WindowClip]:
        with open_video(self._source, self._label) as (container, stream):
            packets = self._packets(container, stream)
            for window in self._windows:
                with tempfile.TemporaryFile() as file:
                    self._copy(window, packets, stream, cast("BinaryIO", file))
                    yield self._read_back(window, cast("BinaryIO", file))
            for _ in packets:
                raise self._cannot("a second reading gives more packets than the first")

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        """The packets that the index has, in its order."""
        import av

        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                self._incomplete += packet.is_corrupt
                yield packet
        except av.FFmpegError as error:
            self._stopped = reason_of(error)

    def _copy(
        self, window: Window, packets: Iterator[Packet[VideoStream]], stream: VideoStream, file: BinaryIO
    ) -> None:
        import av

        pts = self._index.pts[window.first : window.stop]
        # Decode times anew, since not every container has them: in order, each packet's before its presentation.
        order = np.sort(pts)
        dts = order - (order - pts).max()
        # Matroska keeps no length of a frame.
        last = last_length(order, window.end_pts) if self._suffix == ".mp4" else 1
        lengths = np.append(np.diff(order), last)[np.searchsorted(order, pts)]
        try:
            with open_output(file, self._suffix, self._index.time_base) as output:
                copy = output.add_stream_from_template(stream, opaque=True)
                for number in range(len(pts)):
                    packet = self._next(packets, window.first + number)
                    packet.pts = int(pts[number]) - window.start_pts
                    packet.dts = int(dts[number]) - window.start_pts
                    packet.duration = int(lengths[number])
                    packet.stream = copy
                    output.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            raise self._cannot(f"it does not go into {self._suffix[1:].upper()}: {reason_of(error)}") from error

    def _next(self, packets: Iterator[Packet[VideoStream]], number: int) -> Packet[VideoStream]:
        packet = next(packets, None)
        if packet is None or packet.pts != self._index.pts[number]:
            raise self._cannot("a second reading gives other packets than the first")
        if number and packet.has_sidedata("new_extradata"):
            raise self._cannot("the decoder's set-up changes within the stream")
        return packet

    def _read_back(self, window: Window, file: BinaryIO) -> WindowClip:
        copy = index_video(file, label=self._label)
        wrong = self._difference(window, copy)
        if wrong:
            raise self._cannot(f"a copy of window {window.number} would have other {wrong}")
        file.seek(0)
        return WindowClip(window.number, window.start_pts, window.end_pts, self._suffix, file, copy)

    def _difference(self, window: Window, copy: VideoIndex) -> str:
        """The first thing in which a window differs from its stretch of the source."""
        source, part = self._index, slice(window.first, window.stop)
        for name in _SHAPE:
            if getattr(copy, name) != getattr(source, name):
                return name.replace("_", " ")
        ticks = source.time_base / copy.time_base
        if ticks.denominator != 1 or not np.array_equal(copy.pts, (source.pts[part] - window.start_pts) * int(ticks)):
            return "times"
        for name in ("keyframe", "discard"):
            if not np.array_equal(getattr(copy, name), getattr(source, name)[part]):
                return "key frames" if name == "keyframe" else "hidden frames"
        return "" if copy.entry[0] == source.entry[window.first] else "key frames"

    def _cannot(self, cause: str) -> CannotCut:
        return CannotCut(self._label, cause)

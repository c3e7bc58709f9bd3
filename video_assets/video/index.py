"""What a container holds, from one pass over its packets: times, key frames, shape, colours."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from video_assets.video.container import Source, label_of, media_file, open_video, reason_of
from video_assets.video.errors import NotAVideo
from video_assets.video.media_file import MediaFile
from video_assets.video.orientation import Orientation, orientation_of
from video_assets.video.random_access import RandomAccess

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_HEAD_BYTES = 16 * 1024
"""Where the first slice of a key frame begins, as a rule; before it are a few units, some of them of a camera's own."""

NO_TIME = int(np.iinfo(np.int64).min)
"""A packet's missing timestamp."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """One video stream, seen from outside its pixels. Nothing but its first frame is decoded.

    Packet arrays are in decode (file) order; their times are in units of `time_base` seconds.

    Attributes:
        container: FFmpeg's name of the container format; `codec`, `pixel_format` likewise.
        width, height: pixels of a frame as displayed, that is after `orientation`.
        sample_aspect_ratio: shape of a pixel as displayed; images are not stretched by it.
        colorspace, color_range: as declared (AVColorSpace, AVColorRange); 2 and 0 mean undeclared.
        average_rate: frames per second over the presented frames, exact; None with fewer than two.
        duration_s: from the first presented frame to the end of the last.
        declared_duration_s: what the container says, on the same footing; None where it says nothing.
        pts, duration: presentation time (`NO_TIME` where missing) and length.
        keyframe: the container's key frame flag.
        entry: decoding may start here with exact results (stricter than `keyframe`).
        discard: decoded but never presented (before the start of an edit list).
        size_bytes, position: compressed size, and byte position in the file (-1 where unknown).
        doubt: why a decode plan cannot be built on these times; empty where it can.
    """

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    orientation: Orientation
    sample_aspect_ratio: Fraction
    colorspace: int
    color_range: int
    time_base: Fraction
    average_rate: Fraction | None
    duration_s: float
    declared_duration_s: float | None
    pts: NDArray[np.int64]
    duration: NDArray[np.int64]
    keyframe: NDArray[np.bool_]
    entry: NDArray[np.bool_]
    discard: NDArray[np.bool_]
    size_bytes: NDArray[np.int64]
    position: NDArray[np.int64]
    doubt: str

    @property
    def frame_count(self) -> int:
        """Frames to be presented, by the container's word."""
        return int(np.count_nonzero(~self.discard))

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which stored pixels are turned for display: 0, 90, 180 or 270."""
        return self.orientation.rotation

    @property
    def presented(self) -> NDArray[np.int64]:
        """Packet numbers of the presented frames with a time, in presentation order."""
        shown = np.flatnonzero(~self.discard & (self.pts != NO_TIME))
        return shown[np.argsort(self.pts[shown], kind="stable")]

    @property
    def key_times(self) -> frozenset[int] | None:
        """Presentation times of the key frames; None where a packet lacks its time."""
        if (self.pts == NO_TIME).any():
            return None
        return frozenset(self.pts[self.keyframe].tolist())

    @property
    def start_s(self) -> float | None:
        """Time of the first presented frame on the container's clock; None where no packet has a time."""
        order = self.presented
        return float(int(self.pts[order[0]]) * self.time_base) if len(order) else None


def index_video(source: Source | MediaFile, *, label: str = "") -> VideoIndex:
    """Read a video's packets once. Of an MP4 or MOV file, only its tables and what the first frame and key frames need.

    Args:
        source: a path or a seekable binary file.
        label: the item named in errors; by default the path.

    Raises:
        UnreadableMedia, NotAVideo, NoVideoStream.
    """
    label = label_of(source, label)
    file = media_file(source, label)
    index = _read_index(file, label, sparse=True) or _read_index(file, label, sparse=False)
    assert index is not None
    return index


def _read_index(file: MediaFile, label: str, *, sparse: bool) -> VideoIndex | None:
    """With `sparse`, None where a container's tables do not tell what its packets would."""
    with open_video(file, label, sparse=sparse) as (container, stream):
        packets = _Packets(container, stream, file)
        packets.read()
        if file.sparse and not packets.key_frames_are_told:
            return None
        if not packets.rows:
            raise NotAVideo(label, f"has a video stream but no video data{packets.because}")
        return _index(container, stream, packets)


class _Packets:
    """One pass over a container: a row per video packet, the first frame, the end of other streams."""

    def __init__(self, container: InputContainer, stream: VideoStream, file: MediaFile) -> None:
        self._container, self._stream, self._file = container, stream, file
        self._access = RandomAccess(stream.codec_context)
        self.rows: list[tuple[int, int, int, bool, bool, bool, int, int]] = []
        self.first_frame: VideoFrame | None = None
        self.other_end_s = 0.0
        self.stopped = ""
        self._corrupt = 0

    @property
    def key_frames_are_told(self) -> bool:
        """Whether the container tells key frames from others: without a table of them, MP4 calls all frames that."""
        marked = sum(row[3] for row in self.rows)
        return 0 < marked < len(self.rows) or self._stream.codec.intra_only

    @property
    def because(self) -> str:
        return f" ({self.stopped})" if self.stopped else ""

    def read(self) -> None:
        import av

        streams = [self._stream, *self._container.streams.audio]
        packet: Any
        try:
            for packet in self._container.demux(*streams):
                if packet.stream is not self._stream:
                    self._note_other(packet)
                elif packet.size:
                    self._add(packet)
                elif packet.dts is None:
                    self._find_first_frame(packet)
        except av.FFmpegError as error:
            self.stopped = f"reading stops after {len(self.rows)} packets: {reason_of(error)}"

    def _note_other(self, packet: Packet[AudioStream]) -> None:
        if packet.pts is not None:
            self.other_end_s = max(self.other_end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _add(self, packet: Packet[VideoStream]) -> None:
        entry = (self._access.may_start_at if self._file.sparse else self._access.starts_at)(packet)
        self.rows.append(
            (
                NO_TIME if packet.pts is None else packet.pts,
                packet.duration or 0,
                packet.size,
                packet.is_keyframe,
                entry,
                packet.is_discard,
                -1 if packet.pos is None else packet.pos,
                NO_TIME if packet.dts is None else packet.dts,
            )
        )
        self._corrupt += packet.is_corrupt
        if self.first_frame is None:
            self._find_first_frame(packet)

    def _find_first_frame(self, packet: Packet[VideoStream]) -> None:
        import av

        # Rotation, pixel format and colours are known for certain only from a frame.
        if self.first_frame is None:
            with contextlib.suppress(av.FFmpegError):
                self.first_frame = next(iter(packet.decode()), None)
            if self.first_frame is not None:
                self._file.want(())

    def confirm(self, entry: NDArray[np.bool_], position: NDArray[np.int64], size: NDArray[np.int64]) -> None:
        """Take out of `entry` what a look at the packets' first bytes does not confirm, where there was none yet."""
        if not (self._file.sparse and self._access.goes_by_bytes):
            return
        unsure = np.flatnonzero(entry).tolist()
        for most in (_HEAD_BYTES, int(size.max())):
            heads = {n: (int(position[n]), int(min(size[n], most))) for n in unsure}
            self._file.want((at, at + length) for at, length in heads.values())
            found = {n: self._access.confirms(self._file.bytes_at(*head)) for n, head in heads.items()}
            for n, confirmed in found.items():
                entry[n] = confirmed is True
            unsure = [n for n, confirmed in found.items() if confirmed is None]

    def doubt(self, pts: NDArray[np.int64], dts: NDArray[np.int64]) -> str:
        """The first reason not to trust the times, in words."""
        known = dts[dts != NO_TIME]
        if self.stopped:
            return self.stopped
        if self._corrupt:
            return "the container marks packets as damaged"
        if (pts == NO_TIME).any():
            return "packets without presentation times"
        if len(np.unique(pts)) != len(pts):
            return "two packets have the same presentation time"
        if (np.diff(known) <= 0).any():
            return "decode times do not increase"
        if self.first_frame is None:
            return "no frame could be decoded"
        if self.first_frame.interlaced_frame:
            return "interlaced: a packet may hold half a frame"
        return self._access.doubt


def _index(container: InputContainer, stream: VideoStream, packets: _Packets) -> VideoIndex:
    columns = list(zip(*packets.rows, strict=True))
    pts, duration, size, position, dts = (np.array(columns[i], dtype=np.int64) for i in (0, 1, 2, 6, 7))
    keyframe, entry, discard = (np.array(columns[i], dtype=np.bool_) for i in (3, 4, 5))
    packets.confirm(entry, position, size)
    time_base = stream.time_base or Fraction(1, 1_000_000)
    shown = ~discard
    times = dts if (pts[shown] == NO_TIME).any() else pts
    span = _Span.of(times[shown], duration[shown])
    frame, context = packets.first_frame, stream.codec_context
    orientation = orientation_of(frame) if frame is not None else Orientation()
    size_shown = orientation.apply_to_size(
        frame.width if frame is not None else context.width,
        frame.height if frame is not None else context.height,
    )
    aspect = context.sample_aspect_ratio or Fraction(1)
    return VideoIndex(
        container=container.format.name,
        codec=stream.codec.canonical_name,
        pixel_format=frame.format.name if frame is not None else (context.pix_fmt or ""),
        width=size_shown[0],
        height=size_shown[1],
        orientation=orientation,
        sample_aspect_ratio=1 / aspect if orientation.transposed else aspect,
        colorspace=int(frame.colorspace if frame is not None else context.colorspace),
        color_range=int(frame.color_range if frame is not None else context.color_range),
        time_base=time_base,
        average_rate=span.rate(time_base, stream.average_rate),
        duration_s=float(span.length * time_base),
        declared_duration_s=_declared_duration_s(container, stream, span, time_base, packets.other_end_s),
        pts=pts,
        duration=duration,
        keyframe=keyframe,
        entry=entry,
        discard=discard,
        size_bytes=size,
        position=position,
        doubt=packets.doubt(pts, dts),
    )


@dataclass(frozen=True, slots=True)
class _Span:
    """Presented time in units of the time base: `count` frames from `start`, the last of them `last` later,
    the end of that one `length` later."""

    start: int
    count: int
    last: int
    length: int

    @classmethod
    def of(cls, times: NDArray[np.int64], duration: NDArray[np.int64]) -> _Span:
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


def _declared_duration_s(
    container: InputContainer, stream: VideoStream, span: _Span, time_base: Fraction, other_end_s: float
) -> float | None:
    """The stream's own declared duration, else the container's where this stream must fill it."""
    if container.format.name == "avi" and stream.frames:
        # FFmpeg shrinks an AVI's duration to the file it finds; the header's count is in frames of the time base.
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


# In the others FFmpeg estimates the duration from the data itself, so it declares nothing.
_DECLARING = ("matroska,webm", "flv")


def _clock_s(text: str) -> float | None:
    """`HH:MM:SS.fraction` in seconds."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None

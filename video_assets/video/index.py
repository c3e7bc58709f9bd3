"""What a container holds, from one pass over its packets: times, key frames, shape, colours."""

from __future__ import annotations

import contextlib
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from video_assets.video.container import (
    Source,
    complaints,
    demux,
    label_of,
    media_file,
    open_video,
    reason_of,
    video_streams,
)
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

_BYTES_PER_PACKET, _PACKETS = 8, 100_000
"""Tables of a few bytes can claim millions of packets, all of them the same bytes of the file. From 100,000 packets
on, a file has 8 bytes for each; less cannot hold a packet and its container's own bytes, audio not counted."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """One video stream, seen from outside its pixels. Nothing but its first frame is decoded.

    Packet arrays are in decode (file) order; their times are in units of `time_base` seconds.

    Attributes:
        container: FFmpeg's name of the container format; `codec`, `pixel_format` likewise.
        video_streams: how many there are, cover art left out; this is the first of them.
        width, height: pixels of a frame as displayed, that is after `orientation`.
        sample_aspect_ratio: shape of a pixel as displayed; images are not stretched by it.
        colorspace, color_range: as declared (AVColorSpace, AVColorRange); 2 and 0 mean undeclared.
        average_rate: frames per second over the presented frames, exact; None with fewer than two.
        length: from the first presented frame to the end of the last, in units of `time_base`.
        declared_duration_s: what the container says of `duration_s`; None where it says nothing.
        declared_frames: how many packets the container says there are; None where it says nothing to rely on.
        interlaced: the first frame is two fields, taken one after the other.
        pts, duration: presentation time (`NO_TIME` where missing) and length.
        keyframe: the container's key frame flag.
        entry: decoding may start here with exact results (stricter than `keyframe`).
        discard: decoded but never presented (before the start of an edit list).
        size_bytes, position: compressed size, and byte position in the file (-1 where unknown).
        skips_unreferenced: the decoder may leave out frames that no other frame refers to.
        doubt: why a decode plan cannot be built on these times; empty where it can.
    """

    container: str
    video_streams: int
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
    length: int
    declared_duration_s: float | None
    declared_frames: int | None
    interlaced: bool
    pts: NDArray[np.int64]
    duration: NDArray[np.int64]
    keyframe: NDArray[np.bool_]
    entry: NDArray[np.bool_]
    discard: NDArray[np.bool_]
    size_bytes: NDArray[np.int64]
    position: NDArray[np.int64]
    skips_unreferenced: bool
    doubt: str

    @property
    def frame_count(self) -> int:
        """Frames to be presented, by the container's word."""
        return int(np.count_nonzero(~self.discard))

    @property
    def duration_s(self) -> float:
        """From the first presented frame to the end of the last, in seconds."""
        return float(self.length * self.time_base)

    @property
    def missing_frames(self) -> int | None:
        """Declared packets that are not there; None where the container declares no number."""
        return None if self.declared_frames is None else max(self.declared_frames - len(self.pts), 0)

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
        if packets.too_many:
            raise NotAVideo(label, f"claims more than {packets.most:,} packets in {container.size:,} bytes")
        if file.sparse and not (packets.key_frames_are_told and packets.confirm_entries()):
            return None
        if not packets.count:
            raise NotAVideo(label, f"has a video stream but no video data{packets.because}")
        return _index(container, stream, packets)


@dataclass(frozen=True, slots=True)
class _Columns:
    """What is kept of each packet, 43 bytes in all: long clips have a million of them. `keyframe` is a byte each."""

    pts: array[int] = field(default_factory=partial(array, "q"))
    dts: array[int] = field(default_factory=partial(array, "q"))
    duration: array[int] = field(default_factory=partial(array, "q"))
    size_bytes: array[int] = field(default_factory=partial(array, "q"))
    position: array[int] = field(default_factory=partial(array, "q"))
    keyframe: bytearray = field(default_factory=bytearray)
    entry: bytearray = field(default_factory=bytearray)
    discard: bytearray = field(default_factory=bytearray)

    def numbers(self, name: str) -> NDArray[np.int64]:
        """A column of 64-bit numbers; the memory stays the column's."""
        return np.frombuffer(getattr(self, name), np.int64)

    def marks(self, name: str) -> NDArray[np.bool_]:
        """A column of bytes as truth values."""
        return np.frombuffer(getattr(self, name), np.bool_)


class _Packets:
    """One pass over a container: what each video packet says, the first frame, the end of other streams."""

    def __init__(self, container: InputContainer, stream: VideoStream, file: MediaFile) -> None:
        self._container, self._stream, self._file = container, stream, file
        self._access = RandomAccess(stream.codec_context)
        self.columns = _Columns()
        self.most = max(_PACKETS, container.size // _BYTES_PER_PACKET)
        self.first_frame: VideoFrame | None = None
        self.other_end_s = 0.0
        self.stopped = ""
        self.empty = 0
        self._corrupt = self._complaints = 0

    @property
    def count(self) -> int:
        return len(self.columns.pts)

    @property
    def too_many(self) -> bool:
        return self.count > self.most

    @property
    def key_frames_are_told(self) -> bool:
        """Whether the container tells key frames from others: without a table of them, MP4 calls all frames that."""
        return 0 < sum(self.columns.keyframe) < self.count or self._stream.codec.intra_only

    @property
    def because(self) -> str:
        return f" ({self.stopped})" if self.stopped else ""

    @property
    def skips_unreferenced(self) -> bool:
        return self._access.skips_unreferenced

    def read(self) -> None:
        import av

        packet: Any
        self._complaints -= complaints()
        try:
            for packet in demux(self._container, self._stream, *self._container.streams.audio):
                if packet.stream is not self._stream:
                    self._note_other(packet)
                elif packet.size:
                    self._add(packet)
                elif packet.dts is not None:
                    self.empty += 1
                else:
                    self._find_first_frame(packet)
                if self.too_many:
                    break
        except av.FFmpegError as error:
            self.stopped = f"reading stops after {self.count} packets: {reason_of(error)}"
        self._complaints += complaints()

    def _note_other(self, packet: Packet[AudioStream]) -> None:
        if packet.pts is not None:
            self.other_end_s = max(self.other_end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _add(self, packet: Packet[VideoStream]) -> None:
        columns = self.columns
        columns.pts.append(NO_TIME if packet.pts is None else packet.pts)
        columns.dts.append(NO_TIME if packet.dts is None else packet.dts)
        columns.duration.append(packet.duration or 0)
        columns.size_bytes.append(packet.size)
        columns.position.append(-1 if packet.pos is None else packet.pos)
        columns.keyframe.append(packet.is_keyframe)
        columns.entry.append((self._access.may_start_at if self._file.sparse else self._access.starts_at)(packet))
        columns.discard.append(packet.is_discard)
        self._corrupt += packet.is_corrupt
        if self.first_frame is None:
            self._find_first_frame(packet)

    def _find_first_frame(self, packet: Packet[VideoStream]) -> None:
        import av

        # Rotation, pixel format and colours are known for certain only from a frame.
        if self.first_frame is None:
            self._complaints += complaints()
            with contextlib.suppress(av.FFmpegError):
                self.first_frame = next(iter(packet.decode()), None)
            self._complaints -= complaints()  # The decoder's, which a decode meets again, are not the container's.
            if self.first_frame is not None:
                self._file.want(())

    def confirm_entries(self) -> bool:
        """Look at the packets' first bytes, where there was none yet. False where they do not reach far enough."""
        if not self._access.goes_by_bytes:
            return True
        columns = self.columns
        claimed = np.flatnonzero(columns.marks("entry")).tolist()
        heads = [(columns.position[n], min(columns.size_bytes[n], _HEAD_BYTES)) for n in claimed]
        self._file.want((at, at + length) for at, length in heads)
        for n, head in zip(claimed, heads, strict=True):
            confirmed = self._access.confirms(self._file.bytes_at(*head))
            if confirmed is None and columns.size_bytes[n] > _HEAD_BYTES:
                return False
            columns.entry[n] = confirmed is True
        return True

    def doubt(self, pts: NDArray[np.int64], dts: NDArray[np.int64]) -> str:
        """The first reason not to trust the times, in words."""
        known = dts[dts != NO_TIME]
        if self.stopped:
            return self.stopped
        if self._complaints:
            return "the container's reader reports errors"
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
    columns = packets.columns
    pts, dts, duration = (columns.numbers(name) for name in ("pts", "dts", "duration"))
    discard = columns.marks("discard")
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
        video_streams=len(video_streams(container)),
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
        length=span.length,
        declared_duration_s=_declared_duration_s(container, stream, span, time_base, packets.other_end_s),
        declared_frames=_declared_frames(container, stream, packets, dts),
        interlaced=frame is not None and frame.interlaced_frame,
        pts=pts,
        duration=duration,
        keyframe=columns.marks("keyframe"),
        entry=columns.marks("entry"),
        discard=discard,
        size_bytes=columns.numbers("size_bytes"),
        position=columns.numbers("position"),
        skips_unreferenced=packets.skips_unreferenced,
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


def _declared_frames(
    container: InputContainer, stream: VideoStream, packets: _Packets, dts: NDArray[np.int64]
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

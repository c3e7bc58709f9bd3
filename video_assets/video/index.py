"""What a container holds, from one pass over its packets: times, key frames, shape, colours."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from video_assets.video.container import Source, label_of, media_file, open_video, video_streams
from video_assets.video.declared import Span, declared_duration_s, declared_frames
from video_assets.video.errors import NotAVideo
from video_assets.video.media_file import MediaFile
from video_assets.video.orientation import Orientation, orientation_of
from video_assets.video.packets import NO_TIME, Packets

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


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
        packets = Packets(container, stream, file)
        packets.read()
        if packets.too_many:
            raise NotAVideo(label, f"claims more than {packets.most:,} packets in {container.size:,} bytes")
        if file.sparse and not (packets.key_frames_are_told and packets.confirm_entries()):
            return None
        if not packets.count:
            raise NotAVideo(label, f"has a video stream but no video data{packets.because}")
        return _index(container, stream, packets)


def _index(container: InputContainer, stream: VideoStream, packets: Packets) -> VideoIndex:
    columns = packets.columns
    pts, dts, duration = (columns.numbers(name) for name in ("pts", "dts", "duration"))
    discard = columns.marks("discard")
    time_base = stream.time_base or Fraction(1, 1_000_000)
    shown = ~discard
    times = dts if (pts[shown] == NO_TIME).any() else pts
    span = Span.of(times[shown], duration[shown])
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
        declared_duration_s=declared_duration_s(container, stream, span, time_base, packets.other_end_s),
        declared_frames=declared_frames(container, stream, packets, dts),
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

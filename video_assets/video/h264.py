"""Frames encoded as H.264 by x264, to the eye the same, each with its own time exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import numpy as np

from video_assets.video.mux import last_length
from video_assets.video.orientation import Orientation

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

PRESET = "veryfast"

CRF = 16
"""x264's constant rate factor: 0 is the best and largest, 51 the worst; at 16, to the eye the same."""

_BT709 = 1
_LIMITED, _FULL = 1, 2


class Look(Protocol):
    """What an encoder has to know beside the frames. A `VideoIndex` has it."""

    @property
    def time_base(self) -> Fraction: ...
    @property
    def average_rate(self) -> Fraction | None: ...
    @property
    def sample_aspect_ratio(self) -> Fraction: ...
    @property
    def orientation(self) -> Orientation: ...


class H264Encoder:
    """One clip while its frames come in. A frame is held back until the next one tells its length.

    Raises:
        FFmpegError, ValueError: from every method.
    """

    def __init__(self, output: OutputContainer, first: VideoFrame, look: Look, *, crf: int = CRF) -> None:
        from av.video.reformatter import VideoReformatter

        self.times: list[int] = []
        self._shape = _shape(first)
        self._format = _pixel_format(first)
        self._time_base = look.time_base
        self._converter = VideoReformatter()
        self._held: VideoFrame | None = None
        self._output, self._stream = output, _open_stream(output, first, self._format, look, crf)

    def add(self, pts: int, frame: VideoFrame) -> None:
        """The next frame; it is not the caller's any more."""
        if _shape(frame) != self._shape:
            raise ValueError("frames change their size or pixel format within a clip")
        if self._held is not None:
            self._encode(self._held, pts - self.times[-1])
        self._held = frame
        self.times.append(pts)

    def finish(self, end: int) -> int:
        """No frame is to come. Returns where the clip ends: at `end`, but after the last frame."""
        assert self._held is not None
        end = max(end, self.times[-1] + 1)
        self._encode(self._held, last_length(np.array(self.times, dtype=np.int64), end))
        self._output.mux(self._stream.encode(None))
        return end

    def _encode(self, frame: VideoFrame, length: int) -> None:
        from av.video.frame import PictureType

        frame = _converted(frame, self._format, self._converter)
        frame.pts, frame.time_base = self.times[-1] - self.times[0], self._time_base
        frame.duration = length
        # The encoder would follow what the source's encoder chose.
        frame.pict_type = PictureType.NONE
        self._output.mux(self._stream.encode(frame))


def _shape(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _open_stream(output: OutputContainer, first: VideoFrame, pixel_format: str, look: Look, crf: int) -> VideoStream:
    from av.codec.context import Flags

    rate = min(max(look.average_rate or Fraction(25), Fraction(1)), Fraction(240)).limit_denominator(1001)
    matrix, color_range = (_BT709, _LIMITED) if first.format.is_rgb else (int(first.colorspace), _range(first))
    stream = output.add_stream("libx264", rate=rate, options=_encoder_options(color_range, crf))
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = first.width, first.height, pixel_format
    context.time_base, context.thread_count = look.time_base, 1
    context.gop_size = round(rate)
    context.flags |= Flags.frame_duration
    if first.interlaced_frame:
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    aspect = look.sample_aspect_ratio
    context.sample_aspect_ratio = 1 / aspect if look.orientation.transposed else aspect
    context.color_primaries, context.color_trc = int(first.color_primaries), int(first.color_trc)
    context.colorspace, context.color_range = matrix, color_range
    turn = look.orientation
    if turn != Orientation():
        stream.set_display_rotation(-turn.rotation, turn.mirrored, False)
    return stream


def _range(frame: VideoFrame) -> int:
    """As declared, but full for formats that FFmpeg takes for full whatever is declared; H.264 does not have them."""
    return _FULL if frame.format.name.startswith(("yuvj", "gray")) else int(frame.color_range)


def _encoder_options(color_range: int, crf: int) -> dict[str, str]:
    # x264 leaves a limited range undeclared unless something of its table is declared, be it only `component`.
    declared = {"x264-params": "videoformat=component"} if color_range == _LIMITED else {}
    return {"preset": PRESET, "crf": str(crf), **declared}


def _pixel_format(frame: VideoFrame) -> str:
    """What x264 takes that loses least. Halved chroma needs an even size."""
    from av.codec.codec import Codec, find_best_pix_fmt_of_list

    names = [fmt.name for fmt in Codec("libx264", "w").video_formats or ()]
    if frame.width % 2 or frame.height % (4 if frame.interlaced_frame else 2):
        names = [name for name in names if "444" in name or name.startswith("gray")]
    best, _ = find_best_pix_fmt_of_list(names, frame.format.name)
    return best.name if best is not None else "yuv444p"


def _converted(frame: VideoFrame, pixel_format: str, converter: VideoReformatter) -> VideoFrame:
    """The frame in another pixel format, its matrix and range as they are; RGB becomes limited BT.709."""
    from av.video.reformatter import Interpolation

    if frame.format.name == pixel_format:
        return frame
    same = _FULL if _range(frame) == _FULL else _LIMITED
    return converter.reformat(
        frame,
        format=pixel_format,
        src_colorspace=_BT709,
        dst_colorspace=_BT709,
        src_color_range=_FULL if frame.format.is_rgb else same,
        dst_color_range=_LIMITED if frame.format.is_rgb else same,
        interpolation=Interpolation.BICUBIC
        | Interpolation.ACCURATE_RND
        | Interpolation.FULL_CHR_H_INT
        | Interpolation.BITEXACT,
        threads=1,
    )

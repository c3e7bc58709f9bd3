"""Windows of a video cut exactly, at any frame: decoded and encoded again.

A window is an MP4 with H.264 by x264, `crf` 16: to the eye the same. It holds the video alone. Every frame keeps its
own time exactly (variable rate stays variable), shifted so that the window's first is at 0. Orientation, pixel shape,
colours as declared, bit depth up to 10, chroma resolution and fields of interlaced footage are kept; RGB becomes
BT.709 without loss of chroma resolution. One thread: same source, same windows, same libraries: same bytes.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from video_assets.video.container import Source, label_of, reason_of
from video_assets.video.decode import SampledFrames
from video_assets.video.errors import DecodeError, EncodeError, MediaError
from video_assets.video.index import VideoIndex, index_video
from video_assets.video.mux import last_length, open_output
from video_assets.video.orientation import Orientation
from video_assets.video.sampling import EverySeconds
from video_assets.video.windows import WindowClip, end_pts

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

ENCODER_OPTIONS = {"preset": "veryfast", "crf": "16"}

_BT709 = 1
_LIMITED, _FULL = 1, 2


class WindowEncodings:
    """Iterate once for the windows as files; then read `problem`.

        encodings = WindowEncodings(source, index, Fraction(30), label=name)
        for clip in encodings: ...
        if encodings.problem: ...

    Frames of a damaged file that may show the damage (see `DamageReach`) are left out, since a new encoding would hide
    that; `problem` then says so.

    Args:
        source: a path or a seekable binary file.
        index: the file's index.
        seconds: the length of a window.
        label: the item named in errors; by default the path.

    Raises:
        UnreadableMedia, NotAVideo, NoVideoStream, DecodeError: while iterating, as `SampledFrames`.
        EncodeError: while iterating; the windows before are good.
    """

    def __init__(self, source: Source, index: VideoIndex, seconds: Fraction, *, label: str = "") -> None:
        self._index, self._seconds = index, seconds
        self._label = label_of(source, label)
        # Each tick of the clock is sampled, so every frame is, where no two have the same time.
        policy = EverySeconds(index.time_base)
        self._frames = SampledFrames(source, policy, label=self._label, index=index, planned=False)

    @property
    def start_pts(self) -> int:
        """Presentation time of the source's first presented frame; known once the first window is out."""
        return self._frames.start_pts

    @property
    def problem(self) -> MediaError | None:
        """What is wrong with the source, known after the last window."""
        report = self._frames.report
        if report.problem is None and report.decoded > report.sampled:
            cause = f"{report.decoded - report.sampled} frames are not later than the one before and are left out"
            return DecodeError(self._label, cause)
        return report.problem

    def __iter__(self) -> Iterator[WindowClip]:
        frames = ((pts, frame) for pts, frame in self._frames if not self._frames.damaged)
        first = next(frames, None)
        while first is not None:
            start, following = first[0], None
            number = self._number(start)
            with tempfile.TemporaryFile() as file:
                with self._encoder(cast("BinaryIO", file), number, first[1]) as encoder:
                    encoder.add(*first)
                    for pts, frame in frames:
                        if self._number(pts) != number:
                            following = (pts, frame)
                            break
                        encoder.add(pts, frame)
                    end = following[0] if following else end_pts(self._index, self.start_pts)
                    end = encoder.finish(end)
                copy = self._read_back(cast("BinaryIO", file), number, encoder.times)
                yield WindowClip(number, start, end, ".mp4", cast("BinaryIO", file), copy)
            first = following

    def _number(self, pts: int) -> int:
        return int((pts - self.start_pts) * self._index.time_base / self._seconds // 1)

    @contextlib.contextmanager
    def _encoder(self, file: BinaryIO, number: int, first: VideoFrame) -> Iterator[_Encoder]:
        """The encoder of a window; its file is whole after the block."""
        import av

        try:
            with open_output(file, ".mp4", self._index.time_base) as output:
                yield _Encoder(output, first, self._index)
        except (av.FFmpegError, ValueError) as error:
            raise self._failed(number, reason_of(error)) from error

    def _read_back(self, file: BinaryIO, number: int, times: list[int]) -> VideoIndex:
        copy = index_video(file, label=self._label)
        wanted = [(time - times[0]) * self._index.time_base for time in times]
        if [time * copy.time_base for time in copy.pts[copy.presented].tolist()] != wanted:
            raise self._failed(number, "its times read back differently")
        if copy.orientation != self._index.orientation:
            raise self._failed(number, "its orientation reads back differently")
        file.seek(0)
        return copy

    def _failed(self, number: int, cause: str) -> EncodeError:
        return EncodeError(self._label, f"window {number} cannot be encoded: {cause}")


class _Encoder:
    """One window while its frames come in. A frame is held back until the next one tells its length.

    Raises:
        FFmpegError, ValueError: from every method.
    """

    def __init__(self, output: OutputContainer, first: VideoFrame, index: VideoIndex) -> None:
        from av.video.reformatter import VideoReformatter

        self.times: list[int] = []
        self._shape = _shape(first)
        self._format = _pixel_format(first)
        self._time_base = index.time_base
        self._converter = VideoReformatter()
        self._held: VideoFrame | None = None
        self._output, self._stream = output, _open_stream(output, first, self._format, index)

    def add(self, pts: int, frame: VideoFrame) -> None:
        """The next frame; it is not the caller's any more."""
        if _shape(frame) != self._shape:
            raise ValueError("frames change their size or pixel format within it")
        if self._held is not None:
            self._encode(self._held, pts - self.times[-1])
        self._held = frame
        self.times.append(pts)

    def finish(self, end: int) -> int:
        """No frame is to come. Returns where the next window begins: at `end`, but after the last frame."""
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


def _open_stream(output: OutputContainer, first: VideoFrame, pixel_format: str, index: VideoIndex) -> VideoStream:
    from av.codec.context import Flags

    rate = min(max(index.average_rate or Fraction(25), Fraction(1)), Fraction(240)).limit_denominator(1001)
    matrix, color_range = (_BT709, _LIMITED) if first.format.is_rgb else (int(first.colorspace), _range(first))
    stream = output.add_stream("libx264", rate=rate, options=_encoder_options(color_range))
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = first.width, first.height, pixel_format
    context.time_base, context.thread_count = index.time_base, 1
    context.gop_size = round(rate)
    context.flags |= Flags.frame_duration
    if first.interlaced_frame:
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    aspect = index.sample_aspect_ratio
    context.sample_aspect_ratio = 1 / aspect if index.orientation.transposed else aspect
    context.color_primaries, context.color_trc = int(first.color_primaries), int(first.color_trc)
    context.colorspace, context.color_range = matrix, color_range
    turn = index.orientation
    if turn != Orientation():
        stream.set_display_rotation(-turn.rotation, turn.mirrored, False)
    return stream


def _range(frame: VideoFrame) -> int:
    """As declared, but full for formats that FFmpeg takes for full whatever is declared; H.264 does not have them."""
    return _FULL if frame.format.name.startswith(("yuvj", "gray")) else int(frame.color_range)


def _encoder_options(color_range: int) -> dict[str, str]:
    # x264 leaves a limited range undeclared unless something of its table is declared, be it only `component`.
    return {**ENCODER_OPTIONS, **({"x264-params": "videoformat=component"} if color_range == _LIMITED else {})}


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

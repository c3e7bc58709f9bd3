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

from video_assets.video.container import Source, label_of, reason_of
from video_assets.video.decode import SampledFrames
from video_assets.video.errors import DecodeError, EncodeError, MediaError
from video_assets.video.h264 import H264Encoder
from video_assets.video.index import VideoIndex, index_video
from video_assets.video.mux import open_output
from video_assets.video.sampling import EverySeconds
from video_assets.video.windows import WindowClip, end_pts

if TYPE_CHECKING:
    from av import VideoFrame


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
    def _encoder(self, file: BinaryIO, number: int, first: VideoFrame) -> Iterator[H264Encoder]:
        """The encoder of a window; its file is whole after the block."""
        import av

        try:
            with open_output(file, ".mp4", self._index.time_base) as output:
                yield H264Encoder(output, first, self._index)
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

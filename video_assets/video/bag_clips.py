"""The image topics of a bag as MP4 files, one a topic, each frame at its message's own stamp.

JPEG and PNG files are copied as they are (FFmpeg, VLC and mpv play them; browsers do not); raw images are encoded once
as H.264. Presentation times are microseconds since the topic's first image. One image a topic is in memory. Same bag:
same bytes.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import numpy as np

from video_assets.video.bag import BadImage, BagImage, ImageBag, open_bag
from video_assets.video.container import MAX_PIXELS, Source, label_of, reason_of
from video_assets.video.errors import DecodeError, EncodeError, MediaError
from video_assets.video.h264 import CRF, H264Encoder
from video_assets.video.index import VideoIndex, index_video
from video_assets.video.mux import last_length, open_output
from video_assets.video.orientation import Orientation

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

TIME_BASE = Fraction(1, 1_000_000)

_PIXEL_FORMATS = {"rgb8": "rgb24", "bgr8": "bgr24", "mono8": "gray"}


@dataclass(frozen=True, slots=True)
class BagClip:
    """One topic's images as a file.

    Attributes:
        topic: of the bag.
        number: of the topic among the bag's image topics, in the order of their names.
        start_ns: stamp of the first image in nanoseconds since 1970.
        file: the MP4, at its start; open until the next clip is asked for.
        index: what it holds.
    """

    topic: str
    number: int
    start_ns: int
    file: BinaryIO
    index: VideoIndex


class BagClips:
    """Iterate once for the clips; then read `problems`.

    Args:
        source: a path or a seekable binary file.
        wanted: which topics to take; by default all.
        crf: quality of raw images, as `h264.CRF`.
        label: the item named in errors; by default the path.

    Raises:
        NotAVideo, NoVideoStream: while iterating, as `open_bag`.
    """

    def __init__(
        self, source: Source, *, wanted: Callable[[str], bool] | None = None, crf: int = CRF, label: str = ""
    ) -> None:
        self._source, self._label = source, label_of(source, label)
        self._wanted, self._crf = wanted, crf
        self.passed_over: dict[int, str] = {}
        """The image topics that were not wanted, by their numbers."""
        self.problems: dict[str, MediaError] = {}
        """By topic: what is wrong with its images. Those before are in its clip, if there are any."""

    def __iter__(self) -> Iterator[BagClip]:
        with open_bag(self._source, label=self._label) as bag, contextlib.ExitStack() as open_files:
            unwanted = [topic for topic in bag.topics if self._wanted and not self._wanted(topic)]
            self.passed_over = {n: topic for n, topic in enumerate(bag.topics) if topic in unwanted}
            topics = [topic for topic, count in bag.topics.items() if count and topic not in unwanted]
            writers = {topic: _TopicWriter(topic, self._crf, self._label, open_files) for topic in topics}
            if writers:
                self._write(bag, writers)
            for number, topic in enumerate(bag.topics):
                if topic in writers and (clip := self._clip(bag, writers[topic], number, open_files)):
                    yield clip

    def _write(self, bag: ImageBag, writers: dict[str, _TopicWriter]) -> None:
        """Every topic in one pass over the bag."""
        try:
            for image in bag.images(writers):
                writers[image.topic].add(image)
        except DecodeError as error:
            for writer in writers.values():
                writer.problem = writer.problem or error

    def _clip(
        self, bag: ImageBag, writer: _TopicWriter, number: int, open_files: contextlib.ExitStack
    ) -> BagClip | None:
        if writer.disordered:
            damage = writer.problem
            writer = _TopicWriter(writer.topic, self._crf, self._label, open_files)
            try:
                for image in bag.in_order(writer.topic):
                    writer.add(image)
            except DecodeError as error:
                damage = error
            writer.problem = writer.problem or damage
        clip = writer.finish(number)
        if problem := writer.told():
            self.problems[writer.topic] = problem
        return clip


class _TopicWriter:
    """One topic's file while its images come in."""

    def __init__(self, topic: str, crf: int, label: str, open_files: contextlib.ExitStack) -> None:
        self.topic = topic
        self.problem: MediaError | None = None
        self.disordered = False
        self._crf, self._label = crf, label
        self._file = cast("BinaryIO", open_files.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115
        self._track: _Track | None = None
        self._output = contextlib.ExitStack()
        self._start_ns = 0
        self._times: list[int] = []
        self._left_out: list[str] = []
        open_files.callback(self._output.close)

    def add(self, image: BagImage | BadImage) -> None:
        """The next image. What cannot be taken is counted; after a problem, nothing is taken."""
        import av

        if self.problem is not None or self.disordered:
            return
        if isinstance(image, BadImage):
            self._left_out.append(image.cause)
            return
        time = (image.stamp_ns - self._start_ns + 500) // 1000 if self._times else 0
        if self._times and time < self._times[-1]:
            self.disordered = True
        elif self._times and time == self._times[-1]:
            self._left_out.append("has the stamp of the one before")
        else:
            try:
                self._put(image, time)
            except _NoPicture as error:
                self._left_out.append(str(error))
            except (av.FFmpegError, ValueError) as error:
                self._stop(f"image {len(self._times) + 1} does not go into the clip: {reason_of(error)}")

    def finish(self, number: int) -> BagClip | None:
        """The clip as it reads back; None where it has no image."""
        import av

        if self._track is None or not self._times:
            return None
        try:
            with self._output:
                self._track.finish()
            return BagClip(self.topic, number, self._start_ns, self._file, self._read_back())
        except (av.FFmpegError, ValueError) as error:
            self._stop(f"the clip cannot be finished: {reason_of(error)}")
        except MediaError as error:
            self.problem = error
        return None

    def told(self) -> MediaError | None:
        """What is wrong with the topic, in words."""
        if self.problem is None and self._left_out:
            first, more = self._left_out[0], len(self._left_out)
            cause = f"topic {self.topic}: {more} of {more + len(self._times)} images are left out; the first {first}"
            return DecodeError(self._label, cause, "Look at what records it.")
        return self.problem

    def _put(self, image: BagImage, time: int) -> None:
        if self._track is None:
            output = self._output.enter_context(open_output(self._file, ".mp4", TIME_BASE))
            self._track = _Encoded(output, self._crf) if image.encoding in _PIXEL_FORMATS else _Copied(output)
        self._track.add(image, time)
        if not self._times:
            self._start_ns = image.stamp_ns
        self._times.append(time)

    def _read_back(self) -> VideoIndex:
        self._file.seek(0)
        index = index_video(self._file, label=self._label)
        if [time * index.time_base for time in index.pts[index.presented].tolist()] != [
            time * TIME_BASE for time in self._times
        ]:
            raise EncodeError(self._label, f"topic {self.topic}: its clip reads back with other times")
        self._file.seek(0)
        return index

    def _stop(self, cause: str) -> None:
        self.problem = EncodeError(self._label, f"topic {self.topic}: {cause}")


class _NoPicture(Exception):
    """An image whose header cannot be read; those after it can still be taken."""


class _Track(Protocol):
    """How images get into an MP4.

    Raises:
        _NoPicture: from `add`, which has taken nothing.
        FFmpegError, ValueError: from every method.
    """

    def add(self, image: BagImage, time: int) -> None:
        """The next image, `time` microseconds after the first."""

    def finish(self) -> None:
        """No image is to come."""


class _Copied:
    """Image files as packets. One is held back until the next tells its length."""

    def __init__(self, output: OutputContainer) -> None:
        self._output = output
        self._stream: VideoStream | None = None
        self._look: tuple[str, int, int, str] | None = None
        self._held: BagImage | None = None
        self._times: list[int] = []

    def add(self, image: BagImage, time: int) -> None:
        self._check(image)
        if self._held is not None:
            self._write(self._held, time - self._times[-1])
        self._held = image
        self._times.append(time)

    def finish(self) -> None:
        times = np.array(self._times, dtype=np.int64)
        # Long, so that the median of the others decides.
        self._write(cast("BagImage", self._held), last_length(times, int(times[-1]) + 10**6))

    def _check(self, image: BagImage) -> None:
        """Opens the first image for what it is, and holds the others against it by their headers."""
        look = _look(image)
        if self._stream is None:
            with _open_image(image) as container:
                self._stream = self._output.add_stream_from_template(container.streams.video[0], opaque=True)
                self._stream.time_base = TIME_BASE
        self._look = self._look or look
        if look != self._look:
            raise ValueError(f"it is {_named(look)}, and those before are {_named(self._look)}")

    def _write(self, image: BagImage, length: int) -> None:
        import av

        packet = av.Packet(image.data)
        packet.stream = cast("Stream", self._stream)
        packet.time_base = TIME_BASE
        packet.pts = packet.dts = self._times[-1]
        packet.duration = length
        packet.is_keyframe = True
        self._output.mux(packet)


@dataclass(frozen=True, slots=True)
class _Look:
    """What the encoder is told of raw images: square pixels, upright."""

    time_base: Fraction = TIME_BASE
    average_rate: Fraction | None = None
    sample_aspect_ratio: Fraction = Fraction(1)
    orientation: Orientation = field(default_factory=Orientation)


class _Encoded:
    """Raw images as H.264."""

    def __init__(self, output: OutputContainer, crf: int) -> None:
        self._output, self._crf = output, crf
        self._encoder: H264Encoder | None = None

    def add(self, image: BagImage, time: int) -> None:
        frame = _frame(image)
        self._encoder = self._encoder or H264Encoder(self._output, frame, _Look(), crf=self._crf)
        self._encoder.add(time, frame)

    def finish(self) -> None:
        encoder = cast("H264Encoder", self._encoder)
        encoder.finish(encoder.times[-1] + 10**6)


def _frame(image: BagImage) -> VideoFrame:
    from av import VideoFrame

    _check_size(image.width, image.height)
    channels = 1 if image.encoding == "mono8" else 3
    rows = np.frombuffer(image.data, dtype=np.uint8).reshape(image.height, image.step)
    pixels = np.ascontiguousarray(rows[:, : image.width * channels])
    shape = (image.height, image.width) if channels == 1 else (image.height, image.width, channels)
    return VideoFrame.from_ndarray(pixels.reshape(shape), format=_PIXEL_FORMATS[image.encoding])


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"{width}x{height} pixels are too many")


@contextlib.contextmanager
def _open_image(image: BagImage) -> Iterator[InputContainer]:
    import av

    demuxer, options = f"{image.encoding}_pipe", {"protocol_whitelist": "none"}
    try:
        container = av.open(io.BytesIO(image.data), "r", format=demuxer, container_options=options)
    except (av.FFmpegError, ValueError) as error:
        raise _NoPicture(f"is no {image.encoding.upper()} that can be opened: {reason_of(error)}") from error
    with container:
        yield container


def _look(image: BagImage) -> tuple[str, int, int, str]:
    """Codec, width, height and layout, by the file's header alone.

    Raises:
        _NoPicture: it has none.
        ValueError: the picture is too large.
    """
    from simplejpeg import decode_jpeg_header

    if image.encoding == "jpeg":
        try:
            height, width, colours, sampling = decode_jpeg_header(image.data)
        except ValueError as error:
            raise _NoPicture(f"is no JPEG: {error}") from error
        _check_size(width, height)
        return "JPEG", width, height, f"{colours} {sampling}"
    width, height = (int.from_bytes(image.data[at : at + 4], "big") for at in (16, 20))
    _check_size(width, height)
    return "PNG", width, height, f"type {image.data[25:26].hex()} of {image.data[24:25].hex()} bits"


def _named(look: tuple[str, int, int, str]) -> str:
    return f"{look[0]} {look[1]}x{look[2]} ({look[3]})"

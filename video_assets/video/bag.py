"""Images in ROS bags: which topics have some, and each image with its own stamp, one message in memory at a time.

ROS 1 bags (format 2.0; chunks uncompressed, bz2 or lz4) by rosbags. `open_bag` is where other formats would join: what
it gives is of no format.

Formats: http://wiki.ros.org/Bags/Format/2.0, sensor_msgs/CompressedImage and sensor_msgs/Image.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, cast

from video_assets.video.container import Source, label_of
from video_assets.video.errors import DecodeError, MediaError, NotAVideo, NoVideoStream

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag1 import Reader

_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_RAW = "sensor_msgs/msg/Image"
_RAW_ENCODINGS = {"rgb8": 3, "bgr8": 3, "mono8": 1}
_MAGIC = b"#ROSBAG V2.0\n"

Encoding = Literal["jpeg", "png", "rgb8", "bgr8", "mono8"]


@dataclass(frozen=True, slots=True)
class BagImage:
    """One image message.

    Attributes:
        topic: of the bag.
        stamp_ns: nanoseconds since 1970 as the message's header says; where it says 0, when the message was recorded.
        encoding: how `data` is to be read.
        data: a whole JPEG or PNG file, or rows of `step` bytes.
        width, height, step: of raw images; 0 for files.
    """

    topic: str
    stamp_ns: int
    encoding: Encoding
    data: bytes
    width: int = 0
    height: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class BadImage:
    """A message of an image topic that holds no image this version reads, and why."""

    topic: str
    cause: str


class ImageBag(Protocol):
    """A bag as far as its images go."""

    @property
    def topics(self) -> Mapping[str, int]:
        """The image topics in order, and how many messages each has."""

    def images(self, topics: Collection[str] = ()) -> Iterator[BagImage | BadImage]:
        """The images of these topics (of all, for none) in the order in which they were recorded.

        Raises:
            DecodeError: the bag is damaged from here on.
        """

    def in_order(self, topic: str) -> Iterator[BagImage | BadImage]:
        """The images of one topic in the order of their stamps; slower.

        Raises:
            DecodeError: the bag is damaged; before the first image.
        """


@contextlib.contextmanager
def open_bag(source: Source, *, label: str = "") -> Iterator[ImageBag]:
    """Opens the bag at a path or in a seekable binary file.

    Raises:
        NotAVideo: empty, no bag, of another format, not indexed, cut off, or damaged in its index.
        NoVideoStream: a good bag without a topic of images, or none of which has a message.
    """
    label = label_of(source, label)
    with _opened(source) as file:
        _check_format(file, label)
        with _reader(file, label) as reader:
            bag = _Ros1Bag(reader, label)
            if not any(bag.topics.values()):
                raise NoVideoStream(label, _without_images(reader, bag.topics), "Record the cameras' image topics.")
            yield bag


class _Ros1Bag:
    """An `ImageBag` over rosbags' reader."""

    def __init__(self, reader: Reader, label: str) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._reader, self._label = reader, label
        self._types = get_typestore(Stores.ROS1_NOETIC)
        connections = [c for c in reader.connections if c.msgtype in (_COMPRESSED, _RAW)]
        self._connections = sorted(connections, key=lambda c: (c.topic, c.id))

    @property
    def topics(self) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for connection in self._connections:
            counts[connection.topic] = counts.get(connection.topic, 0) + connection.msgcount
        return counts

    def images(self, topics: Collection[str] = ()) -> Iterator[BagImage | BadImage]:
        for _, image in self._read([c for c in self._connections if not topics or c.topic in topics]):
            yield image

    def in_order(self, topic: str) -> Iterator[BagImage | BadImage]:
        connections = [c for c in self._connections if c.topic == topic]
        # Several messages may have been recorded at one time: they are told apart by their number among these.
        stamps: list[tuple[int, int, int]] = []
        at_once: Counter[int] = Counter()
        for recorded_ns, image in self._read(connections):
            stamp_ns = image.stamp_ns if isinstance(image, BagImage) else recorded_ns
            stamps.append((stamp_ns, recorded_ns, at_once[recorded_ns]))
            at_once[recorded_ns] += 1
        for _, recorded_ns, number in sorted(stamps):
            _, image = next(islice(self._read(connections, recorded_ns, recorded_ns + 1), number, None))
            yield image

    def _read(
        self, connections: list[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[int, BagImage | BadImage]]:
        count = 0
        try:
            for connection, recorded_ns, raw in self._reader.messages(connections, start, stop):
                yield recorded_ns, self._image(connection, recorded_ns, raw)
                count += 1
        except MediaError:
            raise
        except Exception as error:
            cause = f"is damaged after {count} images: {_words(error)}"
            raise DecodeError(self._label, cause, "Fetch the bag again, or `rosbag reindex` it.") from error

    def _image(self, connection: Connection, recorded_ns: int, raw: bytes) -> BagImage | BadImage:
        try:
            message: Any = self._types.deserialize_ros1(raw, connection.msgtype)
            stamp = message.header.stamp
            stamp_ns = stamp.sec * 10**9 + stamp.nanosec or recorded_ns
            if connection.msgtype == _COMPRESSED:
                return _compressed(connection.topic, stamp_ns, message)
            return _raw(connection.topic, stamp_ns, message)
        except Exception as error:
            return BadImage(connection.topic, f"cannot be read as {connection.msgtype}: {_words(error)}")


def _compressed(topic: str, stamp_ns: int, message: Any) -> BagImage | BadImage:
    data = message.data.tobytes()
    # The text in `format` is free; the bytes say what they are.
    if data.startswith(b"\xff\xd8\xff"):
        return BagImage(topic, stamp_ns, "jpeg", data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return BagImage(topic, stamp_ns, "png", data)
    return BadImage(topic, f"is neither JPEG nor PNG: its format says {message.format[:40]!r}")


def _raw(topic: str, stamp_ns: int, message: Any) -> BagImage | BadImage:
    channels = _RAW_ENCODINGS.get(message.encoding)
    if channels is None:
        known = ", ".join(_RAW_ENCODINGS)
        return BadImage(topic, f"has the encoding {message.encoding[:40]!r}, which is none of {known}")
    if not (0 < message.width * channels <= message.step and message.step * message.height == len(message.data) > 0):
        size = f"{message.width}x{message.height} with rows of {message.step} bytes"
        return BadImage(topic, f"says {size}, and has {len(message.data)} bytes")
    return BagImage(
        topic, stamp_ns, message.encoding, message.data.tobytes(), message.width, message.height, message.step
    )


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    if isinstance(source, str) or hasattr(source, "__fspath__"):
        with open(source, "rb") as file:  # noqa: PTH123
            yield file
    else:
        source.seek(0)
        yield source


def _check_format(file: BinaryIO, label: str) -> None:
    head = file.read(len(_MAGIC))
    file.seek(0)
    if not head:
        raise NotAVideo(label, "is empty", "Fetch the bag again.")
    if not head.startswith(b"#ROSBAG"):
        raise NotAVideo(label, "is no ROS 1 bag", "ROS 2 and MCAP recordings are not read yet: convert them.")
    if head != _MAGIC:
        raise NotAVideo(label, "is a bag of another version than 2.0", "Run `rosbag migrate` on it.")


@contextlib.contextmanager
def _reader(file: BinaryIO, label: str) -> Iterator[Reader]:
    from rosbags.rosbag1 import Reader

    reader = Reader(cast("Any", _OpenFile(file)))
    try:
        reader.open()
    except Exception as error:
        words = _words(error)
        if "not indexed" in words:
            cause = "has no index: its recorder was stopped before it wrote one"
            raise NotAVideo(label, cause, "Run `rosbag reindex` on it, and upload it again.") from error
        cause = f"is a bag that was cut off or damaged: {words}"
        raise NotAVideo(label, cause, "Fetch it again, or run `rosbag reindex` on it.") from error
    try:
        yield reader
    finally:
        reader.close()


class _OpenFile:
    """A file that is open already, as the path that rosbags asks for. It is left open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def exists(self) -> bool:
        return True

    def open(self, mode: str) -> _OpenFile:
        return self

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _without_images(reader: Reader, topics: Mapping[str, int]) -> str:
    if topics:
        return f"holds no message of its image topics ({', '.join(topics)})"
    others = sorted({connection.topic for connection in reader.connections})
    if not others:
        return "is an empty bag"
    more = ", …" if len(others) > 5 else ""
    return f"is a bag without images; its topics are {', '.join(others[:5])}{more}"


def _words(error: Exception) -> str:
    """rosbags lets what a damaged bag leads to through as it comes: struct.error, AssertionError, EOFError, …"""
    text = " ".join(str(part) for part in error.args) or type(error).__name__
    return text[:200]

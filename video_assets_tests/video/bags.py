"""ROS 1 bags for tests, written by rosbags."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rosbags.rosbag1 import Writer
from rosbags.typesys import Stores, get_typestore

_STORE = get_typestore(Stores.ROS1_NOETIC)
_TYPES: Any = _STORE.types
COMPRESSED, RAW, STRING = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image", "std_msgs/msg/String"

START_NS = 1_767_600_000_123_456_789


@dataclass(frozen=True)
class Message:
    """One message of a topic: `data` is a file (jpeg, png), pixels (rgb8, bgr8, mono8), or text for any other."""

    topic: str
    stamp_ns: int
    encoding: str
    data: bytes | NDArray[np.uint8]
    recorded_ns: int | None = None


def picture(number: int, width: int = 64, height: int = 48, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth, and another for each number."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 2 + y + number * 9 + 40 * c) % 256 for c in range(channels)]
    pixels = np.stack(planes, axis=-1).astype(np.uint8)
    return pixels if channels > 1 else pixels[..., 0]


def picture_file(number: int, kind: Literal["jpeg", "png"], width: int = 64, height: int = 48) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(number, width, height)).save(file, kind)
    return file.getvalue()


def write_bag(path: Path, messages: Iterable[Message], compression: str = "none", chunk_bytes: int = 1 << 20) -> Path:
    """A whole, indexed bag."""
    writer = Writer(path)
    if compression != "none":
        writer.set_compression(Writer.CompressionFormat[compression.upper()])
    writer.chunk_threshold = chunk_bytes
    with writer:
        topics: dict[str, Any] = {}
        for message in messages:
            kind = _kind(message.encoding)
            if message.topic not in topics:
                topics[message.topic] = writer.add_connection(message.topic, kind, typestore=_STORE)
            recorded = message.stamp_ns if message.recorded_ns is None else message.recorded_ns
            writer.write(topics[message.topic], recorded, _STORE.serialize_ros1(_message(message), kind))
    return path


def _kind(encoding: str) -> str:
    if encoding == "text":
        return STRING
    return COMPRESSED if encoding in ("jpeg", "png") or ";" in encoding else RAW


def _message(message: Message) -> Any:
    if message.encoding == "text":
        return _TYPES[STRING](data="words")
    stamp = _TYPES["builtin_interfaces/msg/Time"](sec=message.stamp_ns // 10**9, nanosec=message.stamp_ns % 10**9)
    header = _TYPES["std_msgs/msg/Header"](seq=0, stamp=stamp, frame_id="camera")
    if isinstance(message.data, bytes):
        return _TYPES[COMPRESSED](header, message.encoding, np.frombuffer(message.data, np.uint8))
    height, width = message.data.shape[:2]
    step = message.data.size // height
    return _TYPES[RAW](header, height, width, message.encoding, 0, step, message.data.reshape(-1))

"""What is published beside an upload, and the id of its stream."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from video_assets.storage.part_uploads import kind_of
from video_assets.uploads.source_file import SourceFile

SUFFIX = ".json"
"""The record of an upload has the object's key with this."""

INCOMPLETE = "incomplete/"
"""What keys begin with whose file cannot be played."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part as the file has it: its number in the file's order, its size in bytes, the checksum that its store keeps,
    and its SHA-256 where that is told.
    """

    number: int
    size: int
    checksum: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """Which file of which machine an upload is of. A path whose file was replaced has another generation."""

    host: str
    path: str
    generation: int = 0

    @property
    def stream_id(self) -> str:
        """32 hexadecimal digits: the same as long as it is the same file, however it grows."""
        text = "\0".join((self.host, self.path, str(self.generation)))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def iso(moment: datetime | None = None) -> str:
    """The moment, or now, in ISO 8601 and UTC."""
    return (moment or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="milliseconds")


def iso_of_ns(ns: int) -> str:
    """A file's time in ISO 8601 and UTC; a time beyond the calendar becomes its first or last day."""
    try:
        return iso(_EPOCH + timedelta(microseconds=ns // 1000))
    except OverflowError:
        return iso((datetime.min if ns < 0 else datetime.max).replace(tzinfo=UTC))


def upload_record(
    stream: Stream,
    source: SourceFile,
    key: str,
    uri: str,
    etag: str,
    part_bytes: int,
    parts: list[SentPart],
    *,
    started_at: str,
    is_confirmed: bool,
    capture: dict[str, Any],
) -> dict[str, Any]:
    """The record of one object, as it is published and kept."""
    return {
        "format": "video-assets/upload/1",
        "stream_id": stream.stream_id,
        "generation": stream.generation,
        "host": stream.host,
        "name": source.name,
        "key": key,
        "uri": uri,
        "etag": etag,
        "size": source.size,
        "mtime_ns": source.mtime_ns,
        "modified_at": iso_of_ns(source.mtime_ns),
        "part_bytes": part_bytes,
        "parts": [{"number": part.number, "size": part.size, "checksum": part.checksum} for part in parts],
        "incomplete": key.startswith(INCOMPLETE),
        "confirmed": is_confirmed,
        "started_at": started_at,
        "uploaded_at": iso(),
        "capture": capture,
    }


def as_json(record: dict[str, Any]) -> bytes:
    """A record as it is published."""
    return json.dumps(record, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def parsed(text: bytes) -> dict[str, Any] | None:
    """A record that was published; None for what is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def is_of(record: dict[str, Any] | None, source: SourceFile) -> bool:
    """Whether a record is of this version of the file, moved to its present place or not."""
    return record is not None and (record.get("size"), record.get("mtime_ns")) == (source.size, source.mtime_ns)


def grew_from(record: dict[str, Any], source: SourceFile, checksum: Callable[[bytes, str], str]) -> bool:
    """Whether the file is the one of the record with more behind it, by the store's checksums of parts.

    Args:
        record: of the file as it was.
        source: the file as it is.
        checksum: of bytes, by its kind.
    """
    size, parts = record.get("size"), record.get("parts")
    if not isinstance(size, int) or not isinstance(parts, list) or size >= source.size:
        return False
    start = 0
    for part in parts:
        length = part.get("size") if isinstance(part, dict) else None
        if not isinstance(length, int) or not 0 < length <= source.size - start:
            return False
        known = str(part.get("checksum"))
        if checksum(source.read(start, length), kind_of(known)) != known:
            return False
        start += length
    return start == size


def host_name() -> str:
    """This machine's name."""
    return os.uname().nodename

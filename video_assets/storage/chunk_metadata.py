"""What `metadata.json` says of a stream of chunks, checked: a video that was uploaded as numbered objects.

    <stream_id>/chunk_000000.bin
    <stream_id>/chunk_000001.bin
    <stream_id>/metadata.json

The format is in docs/uploads.md. The object it stands for has the key `<stream_id>/metadata.json/<name>`, which no
other object has: on a disk a file has nothing below it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from video_assets.storage.object_keys import check_key
from video_assets.storage.object_store import InvalidKey, ObjectUnreadable

FORMAT = "video-assets/chunks/1"

MAX_METADATA_BYTES = 32 * 1024 * 1024
"""Some 300,000 chunks: 3 TB, where they have 10 MiB."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class StreamFault(ObjectUnreadable):
    """A stream of chunks that is not what its metadata says, or whose metadata cannot be used."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk as the metadata lists it; `sha256` in hexadecimal."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StreamMetadata:
    """A stream's metadata.

    Attributes:
        name: the file's path below the folder that was watched; a key like any.
        host: the machine that the file was on.
        generation: one more for each other file that took the place of one at the same path.
        size_bytes: of the file.
        chunk_bytes: of every chunk but the last.
        chunks: in the order of their numbers.
        complete: nothing of it will change any more.
        fault: why it is not complete though its file has ended; empty where nothing is wrong.
    """

    name: str
    host: str
    generation: int
    size_bytes: int
    chunk_bytes: int
    chunks: tuple[Chunk, ...]
    complete: bool
    fault: str

    @property
    def etag(self) -> str:
        """The version: a function of the bytes and their cut."""
        digest = hashlib.sha256()
        for chunk in self.chunks:
            digest.update(f"{chunk.size_bytes} {chunk.sha256}\n".encode())
        return digest.hexdigest()[:32]


def parse_metadata(data: bytes, item: str) -> StreamMetadata:
    """Reads and checks the metadata of the stream at `item`, the URI of its metadata.json.

    Raises:
        StreamFault: naming the first thing that is wrong.
    """
    try:
        said = json.loads(data)
        if not isinstance(said, dict):
            raise _Wrong("is no JSON object")
        if said.get("format") != FORMAT:
            raise _Wrong(f"has the format {said.get('format')!r}, and {FORMAT} is read")
        if said.get("stream_id") != item.split("/")[-2]:
            raise _Wrong(f"is of the stream {said.get('stream_id')!r}, and lies in another's folder")
        chunk_bytes = _count(said, "chunk_bytes", at_least=1)
        metadata = StreamMetadata(
            name=_name(said.get("name")),
            host=str(said.get("host") or "")[:255],
            generation=_count(said, "generation", at_least=0) if "generation" in said else 0,
            size_bytes=_count(said, "size"),
            chunk_bytes=chunk_bytes,
            chunks=_chunks(said.get("chunks"), chunk_bytes),
            complete=_truth(said, "complete"),
            fault=str(said.get("fault") or "")[:200],
        )
        if (total := sum(chunk.size_bytes for chunk in metadata.chunks)) != metadata.size_bytes:
            raise _Wrong(f"has the size {metadata.size_bytes}, and its chunks have {total} bytes")
    except _Wrong as error:
        raise StreamFault(item, str(error), "Upload the file again.") from None
    except (ValueError, RecursionError) as error:
        raise StreamFault(item, f"is no JSON: {error}", "Upload the file again.") from None
    return metadata


class _Wrong(Exception):
    """What is wrong with a metadata.json."""


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("names no file")
    try:
        return check_key(value)
    except InvalidKey as error:
        raise _Wrong(f"has a name that cannot be used: {error.item} {error.cause}") from None


def _chunks(value: Any, chunk_bytes: int) -> tuple[Chunk, ...]:
    if not isinstance(value, list):
        raise _Wrong("lists no chunks")
    chunks = []
    for number, said in enumerate(value):
        if not isinstance(said, dict) or said.get("index") != number:
            raise _Wrong(f"lists something else where chunk {number} should be")
        sha256 = said.get("sha256")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise _Wrong(f"has no SHA-256 of chunk {number}")
        size = _count(said, "size", at_least=1)
        if size > chunk_bytes or (size < chunk_bytes and number < len(value) - 1):
            raise _Wrong(f"gives chunk {number} a size of {size}, and chunks have {chunk_bytes}")
        chunks.append(Chunk(size, sha256))
    return tuple(chunks)


def _count(said: dict[str, Any], field: str, at_least: int = 0) -> int:
    value = said.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise _Wrong(f"has no usable {field}: {value!r:.40}")
    return value


def _truth(said: dict[str, Any], field: str) -> bool:
    value = said.get(field)
    if not isinstance(value, bool):
        raise _Wrong(f"does not say whether it is {field}")
    return value

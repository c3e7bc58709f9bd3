"""Names and keys of a stream of chunks; `chunk_metadata` has the format."""

from __future__ import annotations

import re

METADATA = "metadata.json"

_STREAM_ID = re.compile(r"[0-9a-f]{32}")
_STREAM_OBJECT = re.compile(
    r"(?P<folder>(?:.*/)?[0-9a-f]{32}/)(?P<name>chunk_[0-9]{6,}\.bin|metadata\.json)", re.DOTALL
)


def chunk_name(number: int) -> str:
    """`chunk_000000.bin`, and so on."""
    return f"chunk_{number:06d}.bin"


def chunk_number(name: str) -> int:
    """The number in a chunk's name."""
    return int(name.removeprefix("chunk_").removesuffix(".bin"))


def split_stream_object(key: str) -> tuple[str, str] | None:
    """The folder of a stream, with a slash at its end, and the name in it; None for a key that is of no stream."""
    match = _STREAM_OBJECT.fullmatch(key)
    return (match["folder"], match["name"]) if match else None


def split_stream_key(key: str) -> tuple[str, str] | None:
    """The key of a stream's metadata and the video's name; None for a key that stands for no stream.

    Works on URIs as well.
    """
    before, found, name = key.partition(f"/{METADATA}/")
    return (f"{before}/{METADATA}", name) if found and _STREAM_ID.fullmatch(before.rpartition("/")[2]) else None


def is_metadata_uri(uri: str) -> bool:
    """Whether a URI is that of a stream's metadata."""
    folder, _, name = uri.rpartition("/")
    return name == METADATA and _STREAM_ID.fullmatch(folder.rpartition("/")[2]) is not None

"""MP4 files whose tables lie."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def with_boxes(data: bytes, boxes: Mapping[bytes, bytes]) -> bytes:
    """The file with other contents of these boxes. Its media data must come before `moov`, since that may grow."""
    made, at = b"", 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + size]
        body = boxes.get(kind, with_boxes(body, boxes) if kind in _HOLDERS else body)
        made += struct.pack(">I4s", len(body) + 8, kind) + body
        at += size
    return made


def claiming_samples(data: bytes, count: int, size_bytes: int = 1, at: int = 48, per_chunk: int = 1_000) -> bytes:
    """The file as if it had `count` samples of `size_bytes` each, all chunks of them in the same place."""
    chunks = count // per_chunk
    return with_boxes(
        data.replace(b"edts", b"free"),
        {
            b"stsz": struct.pack(">III", 0, size_bytes, count),
            b"stts": struct.pack(">IIII", 0, 1, count, 512),
            b"stsc": struct.pack(">IIIII", 0, 1, 1, per_chunk, 1),
            b"stco": struct.pack(f">II{chunks}I", 0, chunks, *[at] * chunks),
            b"ctts": struct.pack(">IIII", 0, 1, count, 0),
            b"stss": struct.pack(">II", 0, 0),
        },
    )

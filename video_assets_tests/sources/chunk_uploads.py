"""Streams of chunks as docs/uploads.md describes them, into any store."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from video_assets.storage.object_store import ObjectStore

STREAM = "0123456789abcdef0123456789abcdef"


def put_stream(
    store: ObjectStore,
    name: str,
    data: bytes,
    *,
    chunk_bytes: int = 1000,
    stream_id: str = STREAM,
    folder: str = "",
    leave_out: tuple[int, ...] = (),
    **changes: Any,
) -> str:
    """Uploads `data`; returns the key of its metadata. `changes` are of the metadata, with null where that is given."""
    pieces = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
    place = f"{folder}{stream_id}/"
    for number, piece in enumerate(pieces):
        if number not in leave_out:
            store.put(f"{place}chunk_{number:06d}.bin", piece)
    listed = [
        {"index": number, "size": len(piece), "sha256": hashlib.sha256(piece).hexdigest()}
        for number, piece in enumerate(pieces)
    ]
    metadata = {
        "format": "video-assets/chunks/1",
        "stream_id": stream_id,
        "name": name,
        "host": "depot-1",
        "generation": 0,
        "size": len(data),
        "chunk_bytes": chunk_bytes,
        "chunks": listed,
        "complete": True,
        "fault": None,
        "modified_at": "2026-01-03T08:35:00Z",
        "started_at": "2026-01-03T08:36:00Z",
        "updated_at": "2026-01-03T08:37:00Z",
        "capture": None,
    }
    store.put(f"{place}metadata.json", json.dumps({**metadata, **changes}).encode())
    return f"{place}metadata.json"

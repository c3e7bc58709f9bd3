"""Whether the objects that a partition's rows name are there, and as large as the rows say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from video_assets.keys import Partition, blobs_prefix, items_prefix
from video_assets.storage.object_store import ObjectStore
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, Table

_NAMED_BY = {CLIPS.name: "clip_uri", FRAMES.name: "image_url", EMBEDDINGS.name: "vectors_uri"}
"""The column that names an object of the partition."""


@dataclass(frozen=True, slots=True)
class BlobReport:
    """What was found. `elsewhere` counts objects outside the store, such as a clip left at its source: not looked at.

    `faults` are sentences that name the object.
    """

    named: int
    elsewhere: int
    faults: list[str]


def blob_faults(table: Table, partition: Partition, rows: pa.Table, store: ObjectStore) -> BlobReport:
    """Compares the rows with one listing of the partition's objects."""
    sizes: dict[str, int] | None = None
    named: set[str] = set()
    faults: dict[str, str] = {}
    elsewhere = set()
    for row in rows.select(_columns(table)).to_pylist():
        uri = row[_NAMED_BY[table.name]]
        key = store.key_of(uri) if uri is not None else None
        if key is None:
            elsewhere.update([uri] if uri is not None else [])
            continue
        if sizes is None:
            sizes = _listed(table, partition, store)
        named.add(key)
        if key not in faults and (fault := _fault(row, sizes.get(key))):
            faults[key] = f"{uri} {fault}"
    return BlobReport(len(named), len(elsewhere), [faults[key] for key in sorted(faults)])


def _columns(table: Table) -> list[str]:
    sizes = ("size_bytes", "image_offset", "image_size_bytes") if table is not EMBEDDINGS else ()
    return [name for name in (_NAMED_BY[table.name], *sizes) if name in table.schema.names]


def _listed(table: Table, partition: Partition, store: ObjectStore) -> dict[str, int]:
    prefix = items_prefix if table is EMBEDDINGS else blobs_prefix
    return {info.key: info.size_bytes for info in store.list(prefix(table.name, partition))}


def _fault(row: dict[str, Any], found: int | None) -> str:
    """What is wrong with the object of a row; empty where nothing is. A shard holds more than one image."""
    if found is None:
        return "is not there"
    size = row.get("size_bytes") or row.get("image_size_bytes")
    if (offset := row.get("image_offset")) is not None:
        return f"has {found} bytes, and an image ends at {offset + size}" if found < offset + size else ""
    return f"has {found} bytes, not {size}" if size is not None and found != size else ""

"""`video_manifest`: what videos a vehicle's day has. `unmatched`: what belongs to no vehicle or day."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

from video_assets.keys import Partition
from video_assets.path_template import Unmatched
from video_assets.settings import Settings
from video_assets.sources.listing import Listing, PartitionScan, Upload, scan_partitions
from video_assets.stages.items import Row, failed_row
from video_assets.storage.object_store import ObjectInfo, ObjectNotFound, ObjectStore
from video_assets.storage.registry import open_store
from video_assets.table_store.table_store import Fold, PartitionNotFound, TableStore
from video_assets.tables import OK, UNMATCHED, VIDEO_MANIFEST

SOURCE = "listing"

CODE_VERSION = "1"
"""Raised when the same listing would give other rows."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A partition's manifest, and what was passed over on the way: how many by reason, and lines that name some."""

    fold: Fold
    skipped: dict[str, int]
    examples: list[str]


def open_listing(settings: Settings) -> Listing:
    """The source of a deployment, ready to be read."""
    return Listing(open_store(settings.source_uri()), settings.template(), settings.settle_s, settings.start_date)


def build_manifest(partition: Partition, *, tables: TableStore, settings: Settings) -> Manifest:
    """Lists the partition's uploads. A listing that cannot be finished raises: it is never taken for empty.

    Videos of the earlier manifest that are gone from the source stay, with `source_deleted_at` (SPEC R3, keep).
    """
    listing = open_listing(settings)
    base = tables.version(VIDEO_MANIFEST, partition)
    earlier = _earlier(tables, partition)
    uploads = [_row(listing.store, upload) for upload in listing.partition(partition)]
    listed = {row["video_path"] for row in uploads}
    kept = [row for row in earlier if row["video_path"] not in listed]
    rows = uploads + [row for row in (_still(row, partition, listing) for row in kept) if row is not None]
    known = {(row["video_path"], row["etag"]) for row in earlier}
    made = sum((row["video_path"], row["etag"]) not in known for row in uploads)
    table = VIDEO_MANIFEST.rows(sorted(rows, key=lambda row: row["video_path"]))
    return Manifest(
        Fold(VIDEO_MANIFEST, partition, table, base, made=made), dict(listing.skipped), listing.named_examples()
    )


def _still(row: Row, partition: Partition, listing: Listing) -> Row | None:
    """What becomes of a row whose video is not among the partition's uploads now.

    Gone from the source: it stays, with the time it was first seen gone. Being overwritten, or no longer read by the
    template, or of another source: it stays as it is, since none of these says that the footage is gone. In another
    partition by the template as it is now: None.
    """
    key = listing.store.key_of(row["video_path"])
    if key is None:
        return row
    try:
        info = listing.store.head(key)
    except ObjectNotFound:
        return {**row, "source_deleted_at": row["source_deleted_at"] or listing.now}
    try:
        elsewhere = listing.template.match(key, info.last_modified).partition != partition
    except Unmatched:
        return row
    return None if elsewhere else row


def build_unmatched(*, tables: TableStore, settings: Settings) -> Manifest:
    """Reads the whole source for the videos that belong to no partition."""
    listing = open_listing(settings)
    base = tables.version(UNMATCHED, None)
    deque(listing.everything(), maxlen=0)
    rows = [
        failed_row({**_object(listing.store, upload.info), "source": SOURCE}, "match", upload.reason)
        for upload in listing.unmatched
    ]
    table = UNMATCHED.rows(sorted(rows, key=lambda row: row["video_path"]))
    return Manifest(Fold(UNMATCHED, None, table, base), dict(listing.skipped), listing.named_examples())


def scan_source(listing: Listing, tables: TableStore) -> dict[Partition, PartitionScan]:
    """Every partition that has uploads, and (empty) those whose manifest has some that are gone."""
    scans = scan_partitions(listing.everything())
    for partition in tables.partitions(VIDEO_MANIFEST):
        if partition not in scans:
            before = manifest_scan(partition, tables, listing.store)
            if before is not None and before.videos:
                scans[partition] = PartitionScan()
    return scans


def manifest_scan(partition: Partition, tables: TableStore, source: ObjectStore) -> PartitionScan | None:
    """What the committed manifest has of the source's present objects; None where there is no manifest."""
    try:
        rows = tables.read(VIDEO_MANIFEST, partition).to_pylist()
    except PartitionNotFound:
        return None
    scan = PartitionScan()
    for row in rows:
        key = source.key_of(row["video_path"]) if row["source_deleted_at"] is None else None
        if key is not None:
            scan.add(key, row["size_bytes"], row["etag"])
    return scan


def last_modified_text(time: datetime) -> str:
    """`YYYY-MM-DD HH:MM:SS` of an aware UTC time, as every backend stores it (SPEC M1)."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _object(store: ObjectStore, info: ObjectInfo) -> Row:
    return {
        "video_path": store.uri_of(info.key),
        "size_bytes": info.size_bytes,
        "last_modified": last_modified_text(info.last_modified),
        "etag": info.etag,
    }


def _row(store: ObjectStore, upload: Upload) -> Row:
    return {
        **_object(store, upload.info),
        "camera": upload.fields.camera,
        "start_time": upload.fields.start_time,
        "source": SOURCE,
        "status": OK,
        "attempts": 1,
    }


def _earlier(tables: TableStore, partition: Partition) -> list[Row]:
    try:
        rows: list[Row] = tables.read(VIDEO_MANIFEST, partition).to_pylist()
    except PartitionNotFound:
        return []
    return rows

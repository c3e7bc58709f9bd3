"""The rows of a manifest: what an upload and a bag of a fleet's batch API become, and what decides that."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import pyarrow as pa

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.listing import Listing
from video_assets.sources.partition_scan import Upload
from video_assets.sources.source_objects import SourceStore
from video_assets.stages.items import Row
from video_assets.storage.object_store import ObjectInfo
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import PartitionNotFound, TableStore
from video_assets.tables import FLEET_WINDOWS, OK, VIDEO_MANIFEST

CODE_VERSION = "1"
"""Raised when the same listing would give other rows."""

FLEET_API = "fleet_api"
"""The column `source` of bags of a fleet's batch API."""


def recipe(settings: Settings) -> Recipe:
    """What decides which rows of the source are a partition's, and what they say."""
    return Recipe(
        CODE_VERSION,
        {
            "path_template": settings.path_template,
            "video_extensions": ",".join(settings.video_extensions),
            "timezone": settings.timezone,
            "path_timezone": settings.path_timezone or settings.timezone,
        },
    )


def manifest_rows(uploads: Iterable[Upload], listing: Listing) -> pa.Table:
    """The rows of a manifest that uploads are."""
    return VIDEO_MANIFEST.rows([upload_row(listing, upload) for upload in uploads])


def last_modified_text(time: datetime) -> str:
    """`YYYY-MM-DD HH:MM:SS` of an aware UTC time, as every backend stores it (SPEC M1)."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def object_row(store: SourceStore, info: ObjectInfo) -> Row:
    return {
        "video_path": store.uri_of(info.key),
        "size_bytes": info.size_bytes,
        "last_modified": last_modified_text(info.last_modified),
        "etag": info.etag,
    }


def upload_row(listing: Listing, upload: Upload) -> Row:
    return {
        **object_row(listing.store, upload.info),
        "camera": upload.fields.camera,
        "start_time": upload.fields.start_time,
        "source": listing.objects.kind,
        "status": OK,
        "attempts": 1,
    }


def bag_rows(partition: Partition, tables: TableStore) -> tuple[list[Row], str | None]:
    """The rows of the day's bags, and the data version of what says so; None where the day was not asked for."""
    # Read before the rows: where another run commits between, they are newer than what is noted, and made again later.
    windows = tables.provenance(FLEET_WINDOWS, partition)
    try:
        rows = tables.read(FLEET_WINDOWS, partition).to_pylist()
    except PartitionNotFound:
        return [], None
    version = windows.data_version if windows else None
    return [_bag_row(row) for row in rows if row["bag_uri"] is not None], version


def _bag_row(bag: Row) -> Row:
    return {
        "video_path": bag["bag_uri"],
        **{name: bag[name] for name in ("size_bytes", "last_modified", "etag", "camera", "start_time")},
        "source": FLEET_API,
        "status": OK,
        "attempts": 1,
    }


def earlier_rows(tables: TableStore, partition: Partition) -> list[Row]:
    try:
        rows: list[Row] = tables.read(VIDEO_MANIFEST, partition).to_pylist()
    except PartitionNotFound:
        return []
    return rows

"""`fleet_daily`: a day rolled up over its vehicles, from the tables that exist."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from video_assets.keys import Partition
from video_assets.table_store.table_store import Fold, PartitionNotFound, TableStore
from video_assets.tables import (
    CLIPS,
    EMBEDDINGS,
    FAILED,
    FILTERED,
    FLEET_DAILY,
    FRAMES,
    OK,
    VIDEO_MANIFEST,
    Table,
)

CODE_VERSION = "1"
"""Raised when the same tables would give other rows."""


def roll_up(day: Partition, *, tables: TableStore) -> Fold:
    """One row for each vehicle that has a manifest of the day. A stage not yet materialized counts null, not 0."""
    base = tables.version(FLEET_DAILY, day)
    vehicles = list(tables.partitions(VIDEO_MANIFEST, day.date))
    rows = FLEET_DAILY.rows([_vehicle_row(partition, tables) for partition in vehicles])
    return Fold(FLEET_DAILY, day, rows, base, made=len(rows))


def _vehicle_row(partition: Partition, tables: TableStore) -> dict[str, Any]:
    manifest, clips, frames, embeddings = (
        _find(tables, table, partition) for table in (VIDEO_MANIFEST, CLIPS, FRAMES, EMBEDDINGS)
    )
    found = [rows for rows in (manifest, clips, frames, embeddings) if rows is not None]
    return {
        "vehicle": partition.vehicle,
        "videos": _count(manifest, OK),
        "source_bytes": _sum(manifest, "size_bytes"),
        "clips": _count(clips, OK),
        "clip_seconds": _sum(clips, "duration_s"),
        "frames": _count(frames, OK),
        "embeddings": _count(embeddings, OK),
        "failed": sum(_count(rows, FAILED) or 0 for rows in found),
        "filtered": sum(_count(rows, FILTERED) or 0 for rows in found),
        "status": OK,
        "attempts": 1,
    }


def _find(tables: TableStore, table: Table, partition: Partition) -> pa.Table | None:
    try:
        return tables.read(table, partition)
    except PartitionNotFound:
        return None


def _count(rows: pa.Table | None, status: str) -> int | None:
    return None if rows is None else rows["status"].to_pylist().count(status)


def _sum(rows: pa.Table | None, column: str) -> float | None:
    return None if rows is None else sum(value for value in rows[column].to_pylist() if value is not None)

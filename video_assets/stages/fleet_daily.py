"""`fleet_daily`: a day rolled up over its vehicles, from the tables that exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from video_assets.keys import Partition, content_id
from video_assets.settings import Settings
from video_assets.table_store.provenance import Provenance, Recipe
from video_assets.table_store.table_store import Fold, PartitionNotFound, TableStore
from video_assets.tables import (
    CHAIN,
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

CODE_VERSION = "2"
"""Raised when the same tables would give other rows."""

COUNTED = (VIDEO_MANIFEST, CLIPS, FRAMES, EMBEDDINGS)
"""The tables that are rolled up."""

Versions = dict[tuple[str, str], str]
"""The data version of each table of each vehicle of a day; those that are not known are not in it."""


def recipe(settings: Settings) -> Recipe:
    """What decides the table besides the tables it counts."""
    return Recipe(CODE_VERSION)


def roll_up(day: Partition, *, tables: TableStore, settings: Settings) -> Fold:
    """One row for each vehicle that has a manifest of the day. A stage not yet materialized counts null, not 0."""
    base = tables.version(FLEET_DAILY, day)
    versions: Versions = {}
    rows = []
    for partition in tables.partitions(VIDEO_MANIFEST, day.date):
        # Read before the rows: rows that come between are newer than what is noted, and counted once more later.
        known = {table.name: tables.provenance(table, partition) for table in CHAIN}
        versions |= data_versions(partition, known)
        spent = sum(provenance.seconds for provenance in known.values() if provenance)
        rows.append({**_vehicle_row(partition, tables), "seconds_spent": round(spent, 3)})
    return Fold(
        FLEET_DAILY,
        day,
        FLEET_DAILY.rows(rows),
        base,
        made=len(rows),
        upstream_version=day_version(versions),
        recipe=recipe(settings),
    )


def data_versions(partition: Partition, known: Mapping[str, Provenance | None]) -> Versions:
    """One vehicle's part of its day's versions."""
    found = {table.name: known.get(table.name) for table in COUNTED}
    return {(str(partition.vehicle), name): one.data_version for name, one in found.items() if one}


def day_version(versions: Versions) -> str:
    """Changes when any of the tables of any vehicle of the day does."""
    return content_id("day", *(text for pair, version in sorted(versions.items()) for text in (*pair, version)))


def _vehicle_row(partition: Partition, tables: TableStore) -> dict[str, Any]:
    manifest, clips, frames, embeddings = (_find(tables, table, partition) for table in COUNTED)
    found = [rows for rows in (manifest, clips, frames, embeddings) if rows is not None]
    return {
        "vehicle": partition.vehicle,
        "videos": _count(manifest, OK),
        "source_bytes": _sum(manifest, "size_bytes"),
        "clips": _count(clips, OK),
        "clip_seconds": _sum(clips, "duration_s"),
        "frames": _count(frames, OK),
        "embeddings": _count(embeddings, OK),
        "failed": _total(found, FAILED),
        "failed_clips": _count(clips, FAILED),
        "failed_frames": _count(frames, FAILED),
        "failed_embeddings": _count(embeddings, FAILED),
        "filtered": _total(found, FILTERED),
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


def _total(found: Iterable[pa.Table], status: str) -> int:
    return sum(_count(rows, status) or 0 for rows in found)


def _sum(rows: pa.Table | None, column: str) -> float | None:
    return None if rows is None else sum(value for value in rows[column].to_pylist() if value is not None)

"""How far each stage is: what the tables of the store say, without Dagster."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.failures import source_key
from video_assets.table_store.table_store import TableError, TableStore
from video_assets.tables import CHAIN, FAILED, FILTERED, OK, UNMATCHED, VIDEO_MANIFEST


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage over all its partitions. `missing` are partitions that the stage before has and this one has not."""

    stage: str
    partitions: int
    missing: tuple[str, ...]
    ok: int
    failed: int
    filtered: int


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed row, wherever it is."""

    stage: str
    partition: str
    video_path: str | None
    error_stage: str
    error_msg: str
    attempts: int


def chain_status(tables: TableStore) -> tuple[list[StageStatus], list[Failure]]:
    """Every stage with its counts of rows, and every failed row."""
    statuses, failures = [], []
    before: list[Partition] = []
    for table in CHAIN:
        partitions = list(tables.partitions(table))
        counts: Counter[str] = Counter()
        for partition in partitions:
            try:
                rows = tables.read(table, partition)
            except TableError as error:
                failures.append(Failure(table.name, partition.key, None, "read", str(error), 0))
                continue
            counts.update(rows["status"].to_pylist())
            failures += [
                Failure(table.name, partition.key, row.get("video_path"), *(row[name] for name in _ERROR))
                for row in rows.to_pylist()
                if row["status"] == FAILED
            ]
        missing = tuple(partition.key for partition in sorted(set(before) - set(partitions)))
        statuses.append(StageStatus(table.name, len(partitions), missing, counts[OK], counts[FAILED], counts[FILTERED]))
        before = partitions
    return statuses, failures


def unmatched_videos(tables: TableStore, settings: Settings) -> list[str]:
    """Every video of the source that belongs to no vehicle or day, with the reason, when they were last listed."""
    try:
        rows = tables.read(UNMATCHED, None).to_pylist()
    except TableError:
        return []
    return [f"{source_key(row['video_path'], settings)}: {row['error_msg']}" for row in rows]


@dataclass(frozen=True, slots=True)
class KnownSources:
    """What the manifests know, each sorted."""

    vehicles: list[str]
    cameras: list[str]
    dates: list[str]


def known_sources(tables: TableStore) -> KnownSources:
    """The vehicles, cameras and days that have videos."""
    vehicles: set[str] = set()
    cameras: set[str] = set()
    dates: set[str] = set()
    for partition in tables.partitions(VIDEO_MANIFEST):
        rows = tables.read(VIDEO_MANIFEST, partition)
        if len(rows):
            vehicles.add(str(partition.vehicle))
            dates.add(partition.date)
            cameras.update(camera for camera in rows["camera"].to_pylist() if camera)
    return KnownSources(sorted(vehicles), sorted(cameras), sorted(dates))


_ERROR = ("error_stage", "error_msg", "attempts")

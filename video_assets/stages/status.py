"""How far each stage is: what the tables of the store say, without Dagster."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from video_assets.keys import Partition
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import TableError
from video_assets.tables import CHAIN, FAILED, FILTERED, OK


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


def chain_status(tables: ParquetTables) -> tuple[list[StageStatus], list[Failure]]:
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


_ERROR = ("error_stage", "error_msg", "attempts")

"""Failed items set back by hand, so that the next run tries them once more, whatever attempts they have used up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from video_assets.keys import Partition
from video_assets.stages.item_objects import ITEM_TABLES
from video_assets.storage.object_store import LockTimeout, ObjectStore
from video_assets.table_store.items import ItemRecord, ItemRecords
from video_assets.table_store.table_store import TableStore
from video_assets.tables import FAILED, ITEM, Table


@dataclass(frozen=True, slots=True)
class Selection:
    """Which failed items: of one vehicle, one fleet-local day, one stage; all where None."""

    vehicle: str | None = None
    date: str | None = None
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class FailedItem:
    """One failed item. `verdict`: `set back`, `due` (the next run tries it anyway) or `in use` (a run is at it)."""

    stage: str
    partition: str
    video_path: str
    error_stage: str
    error_msg: str
    attempts: int
    verdict: str


def set_back_failed(
    tables: TableStore, store: ObjectStore, selection: Selection, *, max_attempts: int, dry_run: bool = False
) -> list[FailedItem]:
    """Gives every selected failed item one more attempt, in its next run. With `dry_run` nothing is changed.

    Raises:
        TableError: a partition's table cannot be read.
    """
    return [
        item
        for table in ITEM_TABLES
        if selection.stage in (None, table.name)
        for partition in tables.partitions(table, selection.date)
        if selection.vehicle in (None, partition.vehicle)
        for item in _partition(tables, store, table, partition, max_attempts, dry_run)
    ]


def _partition(
    tables: TableStore, store: ObjectStore, table: Table, partition: Partition, max_attempts: int, dry_run: bool
) -> Iterator[FailedItem]:
    failed = {row[ITEM.name]: row for row in tables.read(table, partition).to_pylist() if row["status"] == FAILED}
    # Rows of before they had it belong to items that any run makes anew.
    failed.pop(None, None)
    if not failed:
        return
    records = ItemRecords(store, table, partition)
    try:
        with tables.writer(table, partition, wait_s=0):
            found = {
                item_id: _set_back(records, record, max_attempts, dry_run)
                for item_id, record in records.load(failed)[0].items()
                if record.status == FAILED
            }
    except LockTimeout:
        found = dict.fromkeys(failed, "in use")
    for item_id, verdict in found.items():
        row = failed[item_id]
        yield FailedItem(
            stage=table.name,
            partition=partition.key,
            video_path=row["video_path"],
            error_stage=row["error_stage"],
            error_msg=row["error_msg"],
            attempts=row["attempts"] or 0,
            verdict=verdict,
        )


def _set_back(records: ItemRecords, record: ItemRecord, max_attempts: int, dry_run: bool) -> str:
    if record.due(max_attempts):
        return "due"
    if not dry_run:
        records.publish(replace(record, attempts=min(record.attempts, max_attempts - 1), retryable=True))
    return "set back"

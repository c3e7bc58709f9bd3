"""Running the items of a partition: only what is missing, changed or failed; the fold of all their records.

Every stage that works item by item is a list of items and a function; this is the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from video_assets.errors import VideoAssetsError
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.storage.object_store import StoreUnavailable
from video_assets.table_store.items import ItemRecord, ItemRecords
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import Fold
from video_assets.tables import FAILED, OK, Table
from video_assets.work.pool import Done, Failed, run_items
from video_assets.work.progress import Progress

Report = Callable[[str], None]
"""Where progress goes, a line at a time."""


MAX_RUN_DEATHS = 10
"""An item in hand at so many deaths of its run is taken for their cause. More than `max_attempts`, since a run that is
killed from outside (a preempted machine, a restart) says little about the items it had in hand."""


class StageStopped(VideoAssetsError):
    """A run that cannot go on, for a reason that is no item's: the store is away, full or not permitted."""


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of work. `task` is pickled to a worker; `identity` is what a failed row keeps of the item."""

    item_id: str
    task: Any
    identity: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker made of an item: its rows, and why it is not whole, if it is not.

    An item with a `failure` keeps its good rows; a failed row that says what is missing is among them.
    """

    rows: pa.Table
    failed: bool = False
    retryable: bool = False
    size_bytes: int = 0


def failed_row(identity: dict[str, Any], stage: str, message: str) -> dict[str, Any]:
    """A row that keeps an item's identity and says what went wrong."""
    return {**identity, "status": FAILED, "error_stage": stage, "error_msg": message, "attempts": 0}


def run_stage(
    table: Table,
    partition: Partition,
    items: Iterable[Item],
    function: Callable[[Any], Outcome],
    *,
    tables: ParquetTables,
    settings: Settings,
    report: Report,
) -> Fold:
    """Works off what is due of a partition's items, one record each, and folds all their records.

    Items run in worker processes: one that raises, hangs or crashes becomes a failed record and costs nothing else.
    One run works on a partition at a time. The fold is not committed here.
    """
    by_id = {item.item_id: item for item in items}
    records = ItemRecords(tables.store, table, partition)
    # What killed runs left half-written; nothing of a living one is touched.
    tables.store.sweep()
    with tables.writer(table, partition):
        base = tables.version(table, partition)
        done, begun = records.load(by_id)
        tries = {i: max(done[i].attempts if i in done else 0, begun.get(i, 0)) for i in by_id}
        due = [i for i in by_id if i not in done or done[i].due(settings.max_attempts)]
        for item_id in [i for i in due if tries[i] - (done[i].attempts if i in done else 0) >= MAX_RUN_DEATHS]:
            due.remove(item_id)
            done[item_id] = _given_up(by_id[item_id], table, tries[item_id])
            records.publish(done[item_id])
        progress = Progress(report, unit=table.name, total=len(due))
        results = run_items(
            function,
            ((i, by_id[i].task) for i in due),
            workers=min(settings.workers, max(1, len(due))),
            timeout_s=settings.item_timeout_s,
            on_start=lambda item_id: records.begin(item_id, tries[item_id] + 1),
            on_progress=progress.tick,
        )
        with contextlib.closing(results):
            for result in results:
                if isinstance(result, Failed) and result.stage == StoreUnavailable.stage:
                    # No fault of any item: the run ends, and those in hand have not been tried.
                    results.close()
                    records.withdraw({i: tries[i] for i in due if i not in done})
                    raise StageStopped(f"table {table.name}", result.message, "Run it again: what is done is kept.")
                record = _record(by_id[result.item_id], table, result, tries[result.item_id] + 1)
                records.publish(record)
                done[result.item_id] = record
                progress.add(failed=record.status == FAILED, size_bytes=_size_bytes(result))
        progress.finish()
    return Fold(table, partition, fold(table, (done[item_id] for item_id in by_id)), base, made=len(due))


def fold(table: Table, records: Iterable[ItemRecord]) -> pa.Table:
    """The rows of the records as one table, in the order of its key, each with its item's attempts."""
    rows = [table.schema.empty_table()]
    for record in records:
        attempts = pa.array([record.attempts] * len(record.rows), pa.int32())
        kept = record.rows.select(table.schema.names)
        rows.append(kept.set_column(kept.column_names.index("attempts"), table.schema.field("attempts"), attempts))
    return pa.concat_tables(rows).sort_by([(name, "ascending") for name in table.key])


def _record(item: Item, table: Table, result: Done[Outcome] | Failed, attempts: int) -> ItemRecord:
    """What a run's result makes of an item."""
    if isinstance(result, Done):
        outcome = result.value
        status = FAILED if outcome.failed else OK
        return ItemRecord(item.item_id, outcome.rows, status, attempts, outcome.retryable)
    rows = table.rows([failed_row(item.identity, result.stage, result.message)])
    return ItemRecord(item.item_id, rows, FAILED, attempts, result.retryable)


def _size_bytes(result: Done[Outcome] | Failed) -> int:
    return result.value.size_bytes if isinstance(result, Done) else 0


def _given_up(item: Item, table: Table, attempts: int) -> ItemRecord:
    """Every attempt died together with its run, so that no run lived to record it."""
    message = f"The run died {attempts} times while this item was being worked on; it is not tried again."
    return ItemRecord(item.item_id, table.rows([failed_row(item.identity, "crash", message)]), FAILED, attempts)

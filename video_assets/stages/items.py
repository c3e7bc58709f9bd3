"""Running the items of a partition: only what is missing, changed or failed; the fold of all their records.

Every stage that works item by item is a list of items and a function; this is the rest.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from video_assets.embedding.errors import EmbedderUnavailable
from video_assets.errors import VideoAssetsError
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.storage.object_store import ObjectChanged, ObjectStore, StoreUnavailable
from video_assets.storage.registry import open_store
from video_assets.table_store.items import ItemRecord, ItemRecords
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import Fold, TableStore, fingerprint
from video_assets.tables import CLIPS, FAILED, FRAMES, ITEM, MADE_OF, OK, Table
from video_assets.work.messages import MEMORY_STAGE, TIMEOUT_STAGE
from video_assets.work.pool import Done, Failed, run_items
from video_assets.work.progress import Progress

Row = dict[str, Any]

Report = Callable[[str], None]
"""Where progress goes, a line at a time."""

MAX_RUN_DEATHS = 10
"""An item in hand at so many deaths of its run is taken for their cause. More than `max_attempts`, since a run that is
killed from outside (a preempted machine, a restart) says little about the items it had in hand."""

STOPPING_STAGES = frozenset({StoreUnavailable.stage, EmbedderUnavailable.stage})
"""Errors that are no item's fault, and would befall every other item too."""


BLOB_COLUMN = {CLIPS.name: "clip_uri", FRAMES.name: "image_url"}
"""The column that names a row's blob."""


class StageStopped(VideoAssetsError):
    """A run that cannot go on, for a reason that is no item's: the store or the model is away."""


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of work.

    Attributes:
        task: pickled to a worker.
        identity: what a failed row keeps of the item.
        facts: the columns of a row of the item that the work does not decide: what upstream says now, and where the
            store lies now. A record keeps results; these are set at each fold.
    """

    item_id: str
    task: Any
    identity: Row
    facts: Callable[[Row], Row]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker made of an item: its rows, and why it is not whole, if it is not.

    An item with a `failure` keeps its good rows; a failed row that says what is missing is among them.

    Attributes:
        size_bytes: what it made or copied, for the progress shown.
        bytes_read, bytes_total: what it read of its input, and how large that is.
    """

    rows: pa.Table
    failed: bool = False
    retryable: bool = False
    size_bytes: int = 0
    bytes_read: int = 0
    bytes_total: int = 0


def failed_row(identity: Row, stage: str, message: str) -> Row:
    """A row that keeps an item's identity and says what went wrong."""
    return {**identity, "status": FAILED, "error_stage": stage, "error_msg": message, "attempts": 0}


def run_stage(
    table: Table,
    partition: Partition,
    upstream: Callable[[], pa.Table],
    items: Callable[[pa.Table], Iterable[Item]],
    function: Callable[[Any], Outcome],
    *,
    recipe: Recipe,
    tables: TableStore,
    settings: Settings,
    report: Report,
) -> Fold:
    """Works off what is due of a partition's items, one record each, and folds all their records.

    Items run in worker processes: one that raises, hangs or crashes becomes a failed record and costs nothing else.
    One run works on a partition at a time; it reads upstream when its turn comes, so that none builds on what another
    has replaced meanwhile. The fold is not committed here.

    Raises:
        StageStopped: see STOPPING_STAGES. No item is charged with an attempt.
    """
    store = open_store(settings.store)
    # What killed runs left half-written; nothing of a living one is touched.
    store.sweep()
    with tables.writer(table, partition):
        base = tables.version(table, partition)
        rows = upstream()
        work = _PartitionWork.begin(table, partition, items(rows), store, settings)
        work.work_off(function, report)
    return Fold(
        table,
        partition,
        work.fold(),
        base,
        made=work.made,
        upstream=rows,
        bytes_read=work.bytes_read,
        bytes_total=work.bytes_total,
        upstream_version=fingerprint(MADE_OF[table.name], rows),
        recipe=recipe,
        seconds=sum(record.seconds for record in work.done.values()),
    )


def work_ahead(
    table: Table,
    partition: Partition,
    items: Iterable[Item],
    function: Callable[[Any], Outcome],
    *,
    settings: Settings,
    report: Report,
    deadline: float = math.inf,
) -> pa.Table:
    """Works off what is due of some of a partition's items, one record each, and gives their rows.

    The partition's table stays as it is, and its lock is not taken: who calls sees to it that no two have the same
    items in hand. A run of the stage finds the records and has nothing left to do.

    Args:
        deadline: on the clock of `time.monotonic`: an item that is under way then, or would begin later, has failed by
            a time-out. It is the end of `item_timeout_s` for all that the caller does, items and stages together.

    Raises:
        StageStopped: as for `run_stage`.
    """
    work = _PartitionWork.begin(table, partition, items, open_store(settings.store), settings)
    work.deadline = deadline
    work.work_off(function, report)
    return work.fold()


@dataclass
class _PartitionWork:
    """The items of a partition while a run works on them. `begun` counts attempts by their markers; `deadline` is that
    of all items together.
    """

    table: Table
    items: dict[str, Item]
    records: ItemRecords
    done: dict[str, ItemRecord]
    begun: dict[str, int]
    settings: Settings
    made: int = 0
    bytes_read: int = 0
    bytes_total: int = 0
    deadline: float = math.inf

    @classmethod
    def begin(
        cls, table: Table, partition: Partition, items: Iterable[Item], store: ObjectStore, settings: Settings
    ) -> _PartitionWork:
        """The items with what is known of them."""
        by_id = {item.item_id: item for item in items}
        records = ItemRecords(store, table, partition)
        return cls(table, by_id, records, *records.load(by_id), settings)

    def work_off(self, function: Callable[[Any], Outcome], report: Report) -> None:
        """Runs what is due; then every item has a record."""
        due = self.due()
        progress = Progress(report, unit=self.table.name, total=len(due))
        for result in self.run(due, function, progress.tick):
            progress.add(failed=_has_failed(result), size_bytes=_size_bytes(result))
            if isinstance(result, Done):
                self.bytes_read += result.value.bytes_read
                self.bytes_total += result.value.bytes_total
        if due:
            progress.finish()
        self.made = len(due)

    def fold(self) -> pa.Table:
        """The rows of all items' records."""
        return fold(self.table, ((self.items[item_id], self.done[item_id]) for item_id in self.items))

    def due(self) -> list[str]:
        """What is missing or may be tried again. An item that every run died over is given up here.

        An item whose blobs something outside has taken away is missing, whatever its record says.
        """
        due = []
        blobs = self._blobs_there()
        for item_id in self.items:
            record = self.done.get(item_id)
            if record is not None and not record.due(self.settings.max_attempts):
                if self._blobs_of(item_id, record) <= blobs:
                    continue
                del self.done[item_id]
                record = None
            if self._tries(item_id) - (record.attempts if record else 0) >= MAX_RUN_DEATHS:
                self._publish(_given_up(self.items[item_id], self.table, self._tries(item_id)))
            else:
                due.append(item_id)
        return due

    def run(
        self, due: list[str], function: Callable[[Any], Outcome], tick: Callable[[], None]
    ) -> Iterator[Done[Outcome] | Failed]:
        """Runs the items, publishes their records, and yields what became of each."""
        in_hand: set[str] = set()

        def begin(item_id: str) -> None:
            in_hand.add(item_id)
            self.records.begin(item_id, self._tries(item_id) + 1)

        results = run_items(
            function,
            ((item_id, self.items[item_id].task) for item_id in due),
            workers=min(self.settings.workers, max(1, len(due))),
            timeout_s=self.settings.item_timeout_s,
            deadline=self.deadline,
            memory_limit_bytes=self.settings.item_memory_mib << 20,
            on_start=begin,
            on_progress=tick,
        )
        try:
            with contextlib.closing(results):
                for result in results:
                    self._publish(self._record(result))
                    in_hand.discard(result.item_id)
                    yield result
        except BaseException:
            # This process lives and knows that no item is to blame; only a death counts as an attempt.
            with contextlib.suppress(Exception):
                self.records.withdraw({item_id: self._tries(item_id) for item_id in in_hand})
            raise

    def _blobs_there(self) -> set[str]:
        """The blobs in the store, as far as records may name them."""
        return set(self.records.blobs(self.done)) if self.table.name in BLOB_COLUMN else set()

    def _blobs_of(self, item_id: str, record: ItemRecord) -> set[str]:
        """The keys of the blobs that the record's rows name in this partition."""
        column = BLOB_COLUMN.get(self.table.name)
        if column is None:
            return set()
        uris = {self.items[item_id].facts(row)[column] for row in record.rows.to_pylist() if row[column]}
        return {key for uri in uris if (key := self.records.blob_key(uri)) is not None}

    def _record(self, result: Done[Outcome] | Failed) -> ItemRecord:
        item, tries = self.items[result.item_id], self._tries(result.item_id)
        before = self.done.get(item.item_id)
        seconds = result.seconds + (before.seconds if before else 0.0)
        if isinstance(result, Done):
            outcome = result.value
            status = FAILED if outcome.failed else OK
            return ItemRecord(item.item_id, outcome.rows, status, tries + 1, outcome.retryable, seconds)
        if result.stage in STOPPING_STAGES:
            raise StageStopped(
                f"table {self.table.name}", result.message.rstrip("."), "Run it again: what is done is kept."
            )
        message = result.message
        if result.stage == MEMORY_STAGE:
            message += f"; a worker may have {self.settings.item_memory_mib} MiB (VIDEO_ASSETS_ITEM_MEMORY_MIB)"
        if result.stage == TIMEOUT_STAGE and self.deadline < math.inf:
            message = f"not done within the {self.settings.item_timeout_s:g} s that its record may take in all"
        rows = self.table.rows([failed_row(item.identity, result.stage, message)])
        # What is not at the source now may be there again: that is no failing of the item.
        attempts = max(tries, 1) if result.stage == ObjectChanged.stage else tries + 1
        return ItemRecord(item.item_id, rows, FAILED, attempts, result.retryable, seconds)

    def _publish(self, record: ItemRecord) -> None:
        self.records.publish(record)
        self.done[record.item_id] = record.without_extra_columns(self.table)

    def _tries(self, item_id: str) -> int:
        record = self.done.get(item_id)
        return max(record.attempts if record else 0, self.begun.get(item_id, 0))


def fold(table: Table, records: Iterable[tuple[Item, ItemRecord]]) -> pa.Table:
    """The rows of the records, with the facts of their items, as one table in the order of its key."""
    rows = [
        {**row, **item.facts(row), ITEM.name: item.item_id, "attempts": record.attempts}
        for item, record in records
        for row in record.rows.to_pylist()
    ]
    return table.rows(rows).sort_by([(name, "ascending") for name in table.key])


def _has_failed(result: Done[Outcome] | Failed) -> bool:
    """Also of an item that was worked off well and found to be bad: its metadata counts it as failed too."""
    return not isinstance(result, Done) or result.value.failed


def _size_bytes(result: Done[Outcome] | Failed) -> int:
    return result.value.size_bytes if isinstance(result, Done) else 0


def _given_up(item: Item, table: Table, attempts: int) -> ItemRecord:
    """Every attempt died together with its run, so that no run lived to record it."""
    message = f"The run died {attempts} times while this item was being worked on; it is not tried again."
    return ItemRecord(item.item_id, table.rows([failed_row(item.identity, "crash", message)]), FAILED, attempts)

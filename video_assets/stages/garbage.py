"""Garbage: records and blobs of items that no committed table names (DESIGN, "The one idea").

What is taken is decided twice: from a listing of the whole store, and again, object by object, under the partition's
writer lock, which runs hold while they work and commits hold while they publish. A commit refuses rows whose records
are gone (`table_store.commit_guard`). So nothing that a table names is ever taken, whatever the grace time; the grace
time is for those who still read what an earlier table named: a stage downstream, a search result.

Keys come from listings of the home and are of kinds known here; a source is never written to. What is of no known kind
stays, and is counted. A partition without a committed table is unknown, not empty (SPEC S7): it keeps everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

from video_assets.keys import Partition, blobs_prefix, items_prefix
from video_assets.plural import counted
from video_assets.stages.item_objects import (
    BLOB,
    MARKER,
    RECORD,
    ItemObject,
    NamedObjects,
    is_kept,
    item_object,
    named_objects,
    partition_of,
)
from video_assets.storage.object_store import LockTimeout, ObjectInfo, ObjectNotFound, ObjectStore
from video_assets.table_store.table_store import PartitionNotFound, TableError, TableStore
from video_assets.tables import Table

GRACE_H = 72.0
"""Hours; longer than any run, and than a week-end's."""

UNKNOWN = "unknown"
"""Why an object of no known kind was kept."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many objects of a table were taken or kept for a reason; `table` is empty where they are of none."""

    table: str
    kind: str
    taken: bool
    reason: str
    objects: int
    size_bytes: int


def collect_garbage(
    tables: TableStore,
    store: ObjectStore,
    *,
    grace_h: float = GRACE_H,
    dry_run: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> list[Count]:
    """Takes what no table names and is older than the grace time; returns what was taken and what was kept.

    Args:
        store: the home of records and blobs.
        grace_h: hours.
        dry_run: nothing is taken; counts are of what would be.
        report: is told of each partition that something was taken of.
    """
    work = _Collection(tables, store, timedelta(hours=grace_h), dry_run, report)
    for place, infos in groupby(store.list(), key=lambda info: partition_of(info.key)):
        if place is None:
            work.count_others(infos)
        else:
            work.partition(*place, list(infos))
    if not dry_run and (swept := store.sweep()):
        work.count("", "temporary", "dead writer", swept, 0, taken=True)
    return work.counts()


def total(counts: Iterable[Count], *, taken: bool) -> tuple[int, int]:
    """How many objects, and bytes, were taken or kept."""
    chosen = [count for count in counts if count.taken == taken]
    return sum(count.objects for count in chosen), sum(count.size_bytes for count in chosen)


def in_words(counts: Iterable[Count], *, dry_run: bool) -> str:
    """For example `12 objects of 3400000 bytes taken; 2 unknown objects left`."""
    counts = list(counts)
    objects, size = total(counts, taken=True)
    unknown, _ = total((count for count in counts if count.reason == UNKNOWN), taken=False)
    text = f"{counted(objects, 'object')} of {counted(size, 'byte')} {'would be ' if dry_run else ''}taken"
    return text + (f"; {counted(unknown, 'unknown object')} left" if unknown else "")


@dataclass
class _Collection:
    """One collection under way."""

    tables: TableStore
    store: ObjectStore
    grace: timedelta
    dry_run: bool
    report: Callable[[str], None]
    _objects: Counter[tuple[str, str, bool, str]] = field(default_factory=Counter)
    _bytes: Counter[tuple[str, str, bool, str]] = field(default_factory=Counter)

    def counts(self) -> list[Count]:
        return [Count(*key, objects, self._bytes[key]) for key, objects in sorted(self._objects.items())]

    def count(self, table: str, kind: str, reason: str, objects: int, size_bytes: int, *, taken: bool) -> None:
        self._objects[table, kind, taken, reason] += objects
        self._bytes[table, kind, taken, reason] += size_bytes

    def count_others(self, infos: Iterable[ObjectInfo]) -> None:
        """Objects that belong to no item: committed tables, and what nobody here knows."""
        for info in infos:
            if not is_kept(info.key):
                self.count("", "object", UNKNOWN, 1, info.size_bytes, taken=False)

    def partition(self, table: Table, partition: Partition, infos: list[ObjectInfo]) -> None:
        """Collects one partition, of which all objects were listed."""
        mine = [found for found in (item_object(info, table, partition) for info in infos) if found is not None]
        keys = {found.info.key for found in mine}
        self.count_others(info for info in infos if info.key not in keys)
        garbage = self._garbage(mine, self._named(table, partition, mine), table)
        if not garbage:
            return
        if self.dry_run:
            self._count_taken(garbage, table)
            return
        try:
            with self.tables.writer(table, partition, wait_s=0):
                taken = self._take(table, partition)
        except LockTimeout:
            self._keep(table, (found for found, _ in garbage), "in use")
            return
        self._count_taken(taken, table)
        if taken:
            self.report(f"{table.name} {partition.key}: {len(taken)} taken")

    def _take(self, table: Table, partition: Partition) -> list[tuple[ItemObject, str]]:
        """Looks again, now that no run works on the partition, and deletes. An item's record goes before its blobs."""
        infos = [i for prefix in _prefixes(table, partition) for i in self.store.list(prefix)]
        mine = [found for found in (item_object(info, table, partition) for info in infos) if found is not None]
        named = self._named(table, partition, mine, counted=False)
        taken = []
        for found, reason in sorted(self._garbage(mine, named, table, counted=False), key=_records_first):
            if named is None or self.tables.version(table, partition) != named.version:
                break  # The lock was lost, as a machine that slept may find: the next collection goes on.
            if self._is_unchanged(found.info):
                self.store.delete(found.info.key)
                taken.append((found, reason))
        return taken

    def _garbage(
        self, mine: list[ItemObject], named: NamedObjects | None, table: Table, *, counted: bool = True
    ) -> list[tuple[ItemObject, str]]:
        """The objects to take, with the reason. An item is as old as the youngest of its objects."""
        if named is None:
            return []
        newest: dict[str, datetime] = {}
        for found in mine:
            newest[found.item_id] = max(found.info.last_modified, newest.get(found.item_id, found.info.last_modified))
        before = datetime.now(UTC) - self.grace
        reasons = [(found, reason) for found in mine if (reason := named.reason(found)) is not None]
        if counted:
            self._keep(table, (found for found, _ in reasons if newest[found.item_id] > before), "young")
        return [(found, reason) for found, reason in reasons if newest[found.item_id] <= before]

    def _named(
        self, table: Table, partition: Partition, mine: list[ItemObject], *, counted: bool = True
    ) -> NamedObjects | None:
        """What the tables name; None, and everything is kept, where they do not say."""
        try:
            return named_objects(self.tables, self.store, table, partition)
        except PartitionNotFound:
            reason = "no committed table"
        except TableError:
            reason = "unreadable table"
        if counted:
            self._keep(table, mine, reason)
        return None

    def _is_unchanged(self, info: ObjectInfo) -> bool:
        """Whether an object is still the one that was listed; what is published again has another version or time."""
        try:
            now = self.store.head(info.key)
        except ObjectNotFound:
            return False
        return (now.etag, now.last_modified) == (info.etag, info.last_modified)

    def _keep(self, table: Table, kept: Iterable[ItemObject], reason: str) -> None:
        for found in kept:
            self.count(table.name, found.kind, reason, 1, found.info.size_bytes, taken=False)

    def _count_taken(self, taken: list[tuple[ItemObject, str]], table: Table) -> None:
        for found, reason in taken:
            self.count(table.name, found.kind, reason, 1, found.info.size_bytes, taken=True)


def _prefixes(table: Table, partition: Partition) -> tuple[str, str]:
    return items_prefix(table.name, partition), blobs_prefix(table.name, partition)


def _records_first(garbage: tuple[ItemObject, str]) -> tuple[str, int]:
    """Order of deletion: without its record an item is made again, so that no run adopts one that is half gone."""
    found, _ = garbage
    return found.item_id, (RECORD, MARKER, BLOB).index(found.kind)

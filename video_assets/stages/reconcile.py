"""The reconciler: goes through all partitions, a part at a time, and says which are to be made again (SPEC R3).

It mends what sensors and automation drop. So that it does not race them, it asks for a partition only if a later tick
finds it in the same state; and so that it does not ask for ever for what cannot be made, only a few times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from video_assets.keys import Partition, content_id
from video_assets.stages.fleet_daily import Versions, data_versions, day_version
from video_assets.stages.reconcile_cursor import OpenPartition, ReconcileCursor
from video_assets.stages.staleness import Outdated, PartitionState, examine, examine_day
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import TableStore
from video_assets.tables import CHAIN, FLEET_DAILY, FLEET_WINDOWS, VIDEO_MANIFEST

MAX_REQUESTS = 50
"""Requests of a tick; what is more waits for the next."""

MAX_OPEN = 500
"""Partitions that are noted to be asked for; the search waits while there are so many."""

MAX_GIVEN_UP = 2000
"""Partitions that are remembered as given up. Both bound the cursor, to less than 250 kB."""

MAX_TRIES = 3
"""How often a partition is asked for in one state."""

THREADS = 8
KEYS_ASKED = 2000
"""Partitions whose uploads are asked for at once: a question costs more than its keys."""

CHUNK = 64
"""Partitions looked at between two looks at the clock, by so many threads: a look is mostly waiting for the store."""


@dataclass(frozen=True, slots=True)
class Request:
    """One run: the first stage that is not up to date, and all after it."""

    partition: Partition
    stages: tuple[str, ...]
    run_key: str
    reason: str


@dataclass
class Tick:
    """What a tick asks for, and what it saw. `whole` says that the search has come to the last partition."""

    requests: list[Request] = field(default_factory=list)
    looked_at: int = 0
    running: int = 0
    whole: bool = False


@dataclass(frozen=True)
class Reconciler:
    """Compares what is stored with what it was made of.

    Attributes:
        now: how each table would be made now; see `staleness.recipes`.
        days: the days that can be asked for, in order.
        vehicles: the vehicles whose uploads may have been seen.
        uploads: the data versions of partitions' uploads, of those that were seen.
        is_running: whether a run of the partition is waiting or under way.
        budget_s: how long a tick may look, in seconds.
    """

    tables: TableStore
    now: Mapping[str, Recipe]
    days: Sequence[str]
    vehicles: Sequence[str]
    uploads: Callable[[Sequence[Partition]], Mapping[Partition, str]]
    is_running: Callable[[Partition], bool]
    budget_s: float = 20.0
    clock: Callable[[], float] = time.monotonic

    def tick(self, cursor: ReconcileCursor) -> Tick:
        """Asks for what the ticks before noted, then searches on from where the last one stopped."""
        tick = Tick()
        deadline = self.clock() + self.budget_s
        self._ask(cursor, tick, deadline)
        self._search(cursor, tick, deadline)
        cursor.forget(MAX_GIVEN_UP)
        return tick

    def _ask(self, cursor: ReconcileCursor, tick: Tick, deadline: float) -> None:
        cursor.keep_days(self.days)
        noted = [Partition.from_key(key) for key in cursor.waiting]
        for chunk in _chunks(sorted(noted, key=lambda partition: partition.key, reverse=True)):
            for partition, (outdated, state) in zip(chunk, self._look(chunk), strict=True):
                self._ask_for(partition, outdated, state, cursor, tick)
            if self.clock() >= deadline or len(tick.requests) >= MAX_REQUESTS:
                return

    def _ask_for(
        self, partition: Partition, outdated: Sequence[Outdated], state: str, cursor: ReconcileCursor, tick: Tick
    ) -> None:
        known = cursor.open[partition.key]
        if not outdated:
            del cursor.open[partition.key]
        elif self.is_running(partition):
            tick.running += 1
        elif known.state != state:
            cursor.open[partition.key] = OpenPartition(state)
        elif known.tries >= MAX_TRIES:
            known.given_up = True
        elif len(tick.requests) < MAX_REQUESTS:
            known.tries += 1
            run_key = f"reconcile:{partition.key}:{cursor.next_generation()}:{state}"
            tick.requests.append(Request(partition, _stages_from(outdated[0]), run_key, _text(outdated)))

    def _search(self, cursor: ReconcileCursor, tick: Tick, deadline: float) -> None:
        """Newest days first: theirs is what people wait for."""
        for day, partitions in self._days(cursor):
            whole_day, versions, outdated_of_day = cursor.position is None or cursor.position[0] != day, Versions(), 0
            for chunk in _chunks(p for p in partitions if not cursor.is_behind(day, p.vehicle)):
                states = self._examine(chunk)
                for state in states:
                    _note(cursor, state.partition, state.outdated, state.fingerprint)
                    versions |= data_versions(state.partition, state.known)
                    outdated_of_day += len(state.outdated)
                tick.looked_at += len(chunk)
                cursor.position = (day, str(chunk[-1].vehicle))
                if self._must_stop(cursor, deadline):
                    return
            if not outdated_of_day:
                # Else its day is rolled up when they are made, and looked at the next time round.
                found, state_of_day = self._look_at_day(Partition(day), versions if whole_day else None)
                _note(cursor, Partition(day), found, state_of_day)
            cursor.end_day(day)
            if self._must_stop(cursor, deadline):
                return
        cursor.position = None
        tick.whole = True

    def _must_stop(self, cursor: ReconcileCursor, deadline: float) -> bool:
        return self.clock() >= deadline or len(cursor.waiting) >= MAX_OPEN

    def _days(self, cursor: ReconcileCursor) -> Iterator[tuple[str, list[Partition]]]:
        """The days that the search has not passed, each with the partitions that have a manifest or seen uploads."""
        days = [day for day in sorted(self.days, reverse=True) if not cursor.is_behind(day)]
        size = max(1, KEYS_ASKED // max(1, len(self.vehicles)))
        for block in (days[start : start + size] for start in range(0, len(days), size)):
            seen = self.uploads([Partition(day, vehicle) for day in block for vehicle in self.vehicles])
            for day in block:
                found = {partition for partition in seen if partition.date == day}
                if FLEET_WINDOWS.name in self.now:
                    found |= {*self.tables.partitions(FLEET_WINDOWS, day)}
                yield day, sorted({*found, *self.tables.partitions(VIDEO_MANIFEST, day)})

    def _look(self, partitions: Sequence[Partition]) -> Iterator[tuple[Sequence[Outdated], str]]:
        """What is not up to date of each, and a hash of the state it is in; a fleet's day has no vehicle."""
        states = {s.partition: s for s in self._examine([p for p in partitions if p.vehicle is not None])}
        for partition in partitions:
            if state := states.get(partition):
                yield state.outdated, state.fingerprint
            else:
                yield self._look_at_day(partition, None)

    def _examine(self, partitions: Sequence[Partition]) -> list[PartitionState]:
        uploads = self.uploads(partitions)
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda p: examine(p, self.tables, self.now, uploads.get(p)), partitions))

    def _look_at_day(self, day: Partition, versions: Versions | None) -> tuple[Sequence[Outdated], str]:
        if versions is None:
            versions = {}
            for state in self._examine(list(self.tables.partitions(VIDEO_MANIFEST, day.date))):
                versions |= data_versions(state.partition, state.known)
        found = examine_day(day, versions, self.tables, self.now)
        return ([found] if found else []), content_id("day", day_version(versions), repr(found))[:16]


def _note(cursor: ReconcileCursor, partition: Partition, outdated: Sequence[Outdated], state: str) -> None:
    known = cursor.open.get(partition.key)
    if not outdated:
        cursor.open.pop(partition.key, None)
    elif known is None or known.state != state:
        cursor.open[partition.key] = OpenPartition(state)


def _stages_from(first: Outdated) -> tuple[str, ...]:
    if first.stage == FLEET_DAILY.name:
        return (first.stage,)
    names = [table.name for table in CHAIN]
    return tuple(names[names.index(first.stage) :])


def _text(outdated: Sequence[Outdated]) -> str:
    first = outdated[0]
    return f"{first.stage} is {first.state}: {'; '.join(first.reasons)}"


def _chunks(partitions: Iterable[Partition]) -> Iterator[list[Partition]]:
    rest = iter(partitions)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk

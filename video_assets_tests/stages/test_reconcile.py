"""The reconciler mends whatever was dropped, asks for nothing twice in vain for ever, and remembers where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from video_assets.keys import Partition
from video_assets.stages import reconcile
from video_assets.stages.fleet_daily import Versions, data_versions, day_version
from video_assets.stages.reconcile import MAX_TRIES, Reconciler, Request, Tick
from video_assets.stages.reconcile_cursor import OpenPartition, ReconcileCursor, ReconcileCursorError
from video_assets.stages.staleness import examine
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import Fold
from video_assets.tables import ALL, BY_NAME, CHAIN, FLEET_DAILY, VIDEO_MANIFEST

DAYS = ("2026-01-03", "2026-01-04", "2026-01-05")
VEHICLES = ("veh-1", "veh-2")


@dataclass
class World:
    """Uploads as they were seen, tables, and runs: what a request asks for is made, unless its partition is broken."""

    root: Path
    uploads: dict[Partition, str] = field(default_factory=dict)
    broken: set[Partition] = field(default_factory=set)
    running: set[Partition] = field(default_factory=set)
    now: dict[str, Recipe] = field(default_factory=lambda: {table.name: Recipe("1") for table in ALL})
    budget_s: float = 1e9

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(str(self.root), create=True))

    def tick(self, cursor: ReconcileCursor) -> Tick:
        def seen(partitions: Sequence[Partition]) -> Mapping[Partition, str]:
            return {p: self.uploads[p] for p in partitions if p in self.uploads}

        ticks = iter(range(10**9))
        search = Reconciler(
            self.tables,
            self.now,
            DAYS,
            VEHICLES,
            seen,
            is_running=self.running.__contains__,
            budget_s=self.budget_s,
            clock=lambda: float(next(ticks)),
        )
        return search.tick(cursor)

    def run(self, request: Request) -> None:
        """As the stages do: each notes the version of what it was made of."""
        if request.partition in self.broken:
            return
        if request.stages == (FLEET_DAILY.name,):
            self._roll_up(request.partition)
            return
        for stage in request.stages:
            self.make(request.partition, stage)

    def make(self, partition: Partition, stage: str) -> None:
        table, names = BY_NAME[stage], [t.name for t in CHAIN]
        before = names[names.index(stage) - 1] if stage != VIDEO_MANIFEST.name else None
        stored = self.tables.provenance(BY_NAME[before], partition) if before else None
        upstream = stored.data_version if stored else self.uploads.get(partition, "")
        # Other uploads, other rows: what says so is any stable column of the table.
        column = next(c for c in table.stable_columns if str(table.schema.field(c).type) == "string")
        rows = table.rows([{column: f"{stage} of {upstream}"}])
        base = self.tables.version(table, partition)
        self.tables.commit(Fold(table, partition, rows, base, upstream_version=upstream, recipe=self.now[stage]))

    def _roll_up(self, day: Partition) -> None:
        versions: Versions = {}
        for vehicle in VEHICLES:
            partition = Partition(day.date, vehicle)
            versions |= data_versions(partition, examine(partition, self.tables, self.now).known)
        base = self.tables.version(FLEET_DAILY, day)
        fold = Fold(
            FLEET_DAILY,
            day,
            FLEET_DAILY.schema.empty_table(),
            base,
            upstream_version=day_version(versions),
            recipe=self.now[FLEET_DAILY.name],
        )
        self.tables.commit(fold)

    def settle(self, cursor: ReconcileCursor, ticks: int = 12) -> list[Request]:
        """Ticks, each with its runs, until nothing is asked for any more; the cursor goes through its text."""
        asked = []
        for _ in range(ticks):
            tick = self.tick(cursor)
            for request in tick.requests:
                self.run(request)
            asked += tick.requests
            cursor.__dict__.update(ReconcileCursor.parse(cursor.dump()).__dict__)
        return asked


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, uploads={Partition("2026-01-04", "veh-1"): "a"})


KEY = Partition("2026-01-04", "veh-1")


def test_what_was_never_made_is_asked_for_when_a_second_tick_finds_it_so(world: World) -> None:
    cursor = ReconcileCursor()
    assert world.tick(cursor).requests == []
    (request,) = world.tick(cursor).requests
    assert (request.partition, request.stages) == (KEY, tuple(table.name for table in CHAIN))
    assert request.run_key.startswith(f"reconcile:{KEY.key}:1:")
    assert request.reason == "video_manifest is missing: was never made"


def test_everything_is_mended_and_then_nothing_is_asked_for(world: World) -> None:
    world.uploads[Partition("2026-01-05", "veh-2")] = "b"
    cursor = ReconcileCursor()
    asked = world.settle(cursor)
    assert {r.partition.key for r in asked} == {"2026-01-04|veh-1", "2026-01-05|veh-2", "2026-01-04", "2026-01-05"}
    assert cursor.open == {}
    assert world.settle(cursor) == []


def test_only_what_is_stale_and_what_follows_is_asked_for(world: World) -> None:
    cursor = ReconcileCursor()
    world.settle(cursor)
    world.now["frames"] = Recipe("1", {"sampling": "fps=2"})
    (request, *days) = world.settle(cursor)
    assert request.stages == ("frames", "embeddings", "vector_index")
    assert request.reason == "frames is stale: sampling was unset, is fps=2"
    assert [r.stages for r in days] in ([], [("fleet_daily",)])


def test_a_run_under_way_is_not_asked_for(world: World) -> None:
    cursor = ReconcileCursor()
    world.running.add(KEY)
    ticks = [world.tick(cursor) for _ in range(3)]
    assert [len(tick.requests) for tick in ticks] == [0, 0, 0]
    assert ticks[-1].running == 1
    world.running.clear()
    assert len(world.tick(cursor).requests) == 1


def test_a_day_that_has_no_partitions_any_more_is_forgotten(world: World) -> None:
    cursor = ReconcileCursor()
    world.tick(cursor)
    cursor.open["1999-01-01|veh-1"] = OpenPartition("state")
    assert [request.partition for request in world.tick(cursor).requests] == [KEY]
    assert list(cursor.open) == [KEY.key]


def test_what_fails_each_time_is_given_up_and_tried_again_when_it_changes(world: World) -> None:
    world.broken.add(KEY)
    cursor = ReconcileCursor()
    asked = world.settle(cursor)
    assert len(asked) == len({r.run_key for r in asked}) == MAX_TRIES
    assert cursor.given_up == [KEY.key]
    world.uploads[KEY] = "b"
    assert len(world.settle(cursor)) == MAX_TRIES, "another state"
    world.broken.clear()
    assert world.settle(cursor) == [], "nobody told it"
    world.uploads[KEY] = "c"
    assert world.settle(cursor)
    assert cursor.open == {}


def test_bytes_that_come_back_are_another_request(world: World) -> None:
    cursor = ReconcileCursor()
    keys = []
    for version in ("a", "b", "a"):
        world.uploads[KEY] = version
        keys += [r.run_key for r in world.settle(cursor) if r.partition == KEY]
    assert len(keys) == len(set(keys)) == 3


def test_requests_of_a_tick_are_capped_and_the_rest_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "MAX_REQUESTS", 2)
    monkeypatch.setattr(reconcile, "CHUNK", 2)
    world.uploads = {Partition(day, vehicle): "a" for day in DAYS for vehicle in VEHICLES}
    cursor = ReconcileCursor()
    world.tick(cursor)
    assert len(cursor.open) == 6
    numbers = []
    for _ in range(3):
        tick = world.tick(cursor)
        numbers.append(len(tick.requests))
        for request in tick.requests:
            world.run(request)
    assert numbers == [2, 2, 2]


def test_a_tick_without_time_goes_on_where_the_last_one_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "CHUNK", 1)
    world.budget_s = 0
    world.uploads = {Partition(day, vehicle): "a" for day in DAYS for vehicle in VEHICLES}
    cursor = ReconcileCursor()
    seen = []
    while True:
        tick = world.tick(cursor)
        if tick.whole:
            break
        assert tick.looked_at <= 1
        seen.append(cursor.position)
    places = [place for place in seen if place and place[1] != "~"]
    assert places == [(day, vehicle) for day in reversed(DAYS) for vehicle in VEHICLES]


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "{}",
        '{"version": 1, "position": null, "generation": 1, "open": {"|": {}}}',
        '{"version": 2}',
        '{"version": 1, "position": 3, "open": {}}',
    ],
)
def test_a_strange_cursor_says_what_to_do(text: str) -> None:
    with pytest.raises(ReconcileCursorError, match="Clear the sensor's cursor"):
        ReconcileCursor.parse(text)


PLACES = st.builds(Partition, st.sampled_from(DAYS), st.sampled_from(VEHICLES))
STEPS = st.one_of(
    st.tuples(st.just("upload"), PLACES, st.sampled_from("abc")),
    st.tuples(st.just("manifest alone"), PLACES, st.just("")),
    st.tuples(st.just("tick"), PLACES, st.just("")),
    st.tuples(st.just("tick whose runs die"), PLACES, st.just("")),
)


@given(steps=st.lists(STEPS, max_size=14), budget_s=st.sampled_from([0.0, 1e9]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_dropped_in_the_end_everything_is_up_to_date(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Partition, str]], budget_s: float
) -> None:
    world, cursor = World(tmp_path_factory.mktemp("world"), budget_s=budget_s), ReconcileCursor()
    run_keys: list[str] = []
    for what, partition, version in steps:
        if what == "upload":
            world.uploads[partition] = version
        elif what == "manifest alone":
            if partition in world.uploads:
                world.make(partition, VIDEO_MANIFEST.name)
        else:
            requests = world.tick(cursor).requests
            run_keys += [request.run_key for request in requests]
            for request in requests if what == "tick" else []:
                world.run(request)
    run_keys += [request.run_key for request in world.settle(cursor, ticks=40)]
    assert len(run_keys) == len(set(run_keys))
    for partition, version in world.uploads.items():
        if partition.key not in cursor.given_up:
            assert examine(partition, world.tables, world.now, version).outdated == ()
    assert len(cursor.given_up) == 0 or sum(s[0] == "tick whose runs die" for s in steps) >= MAX_TRIES

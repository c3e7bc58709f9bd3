"""A partition's points become exactly those of its table, whatever was there and whenever it is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Set
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from video_assets.vectors.index_errors import InvalidInputError, PointsNotLoadedError
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.sync import SyncResult, sync_partition
from video_assets.vectors.vector_index import Point, VectorIndex
from video_assets_tests.vectors.fleet_points import (
    COLLECTION,
    DATE,
    DIM,
    Loader,
    contents,
    frame_id,
    frame_point,
    wanted_rows,
)


def _sync(index: VectorIndex, frames: range, generation: int = 1, vehicle: str = "veh-7") -> tuple[SyncResult, Loader]:
    wanted = wanted_rows(vehicle, frames, generation)
    loader = Loader(vehicle, frames, wanted)
    return sync_partition(index, COLLECTION, DATE, vehicle, wanted, loader), loader


def test_only_missing_and_changed_points_are_read_and_stale_ones_go(index: VectorIndex, location: str) -> None:
    result, _ = _sync(index, range(12))
    assert result == SyncResult(upserted=12, unchanged=0, removed=0)

    result, loader = _sync(index, range(12))
    assert result == SyncResult(upserted=0, unchanged=12, removed=0)
    assert loader.asked is None

    result, loader = _sync(index, range(3, 15), generation=2)
    assert result == SyncResult(upserted=9, unchanged=3, removed=3)
    assert loader.asked == {frame_id("veh-7", frame) for frame in range(3, 15)} - {
        frame_id("veh-7", frame) for frame in (3, 6, 9)
    }
    held = contents(location)
    assert {point: payload["row_hash"] for point, (_, payload) in held.items()} == wanted_rows("veh-7", range(3, 15), 2)


def test_an_empty_partition_takes_all_its_points_away_and_no_others(index: VectorIndex) -> None:
    _sync(index, range(5))
    _sync(index, range(4), vehicle="veh-8")
    result, _ = _sync(index, range(0))
    assert result == SyncResult(upserted=0, unchanged=0, removed=5)
    assert index.count(COLLECTION) == 4


def test_one_model_leaves_another_alone(index: VectorIndex) -> None:
    index.ensure("clip", DIM)
    _sync(index, range(5))
    wanted = wanted_rows("veh-7", range(2), 1)
    for rows, count in ((wanted, 2), ({}, 0)):
        sync_partition(index, "clip", DATE, "veh-7", rows, Loader("veh-7", range(2), rows))
        assert (index.count("clip"), index.count(COLLECTION)) == (count, 5)


def test_the_partition_and_the_hash_are_put_into_the_payload(index: VectorIndex, location: str) -> None:
    def load(ids: Set[str]) -> Iterator[Point]:
        yield replace(frame_point("veh-7", 1), payload={"camera": "front", "date": "elsewhere"})

    sync_partition(index, COLLECTION, DATE, "veh-7", {frame_id("veh-7", 1): "h"}, load)
    (payload,) = (payload for _, payload in contents(location).values())
    assert payload == {"camera": "front", "date": DATE, "vehicle": "veh-7", "row_hash": "h"}


def test_points_that_were_not_asked_for_are_passed_over(index: VectorIndex) -> None:
    def load(ids: Set[str]) -> Iterator[Point]:
        for frame in (5, 1, 1, 2):
            yield frame_point("veh-7", frame)

    wanted = {frame_id("veh-7", 1): "a", frame_id("veh-7", 2): "b"}
    result = sync_partition(index, COLLECTION, DATE, "veh-7", wanted, load)
    assert result == SyncResult(upserted=2, unchanged=0, removed=0)
    assert index.partition_points(COLLECTION, DATE, "veh-7") == wanted


def test_nothing_is_removed_while_points_are_missing(index: VectorIndex) -> None:
    _sync(index, range(4))
    wanted = wanted_rows("veh-7", range(2, 8), 1)
    with pytest.raises(PointsNotLoadedError, match=r"1 of 4 points.*embeddings"):
        sync_partition(index, COLLECTION, DATE, "veh-7", wanted, Loader("veh-7", range(7), wanted))
    held = index.partition_points(COLLECTION, DATE, "veh-7")
    assert set(held) == {frame_id("veh-7", frame) for frame in range(7)}


def test_a_point_that_another_partition_took_over_is_not_removed(index: VectorIndex) -> None:
    _sync(index, range(3))
    moved = frame_id("veh-7", 1)

    class TakenOver:
        """The index as a sync sees it whose partition loses a point right after it was listed."""

        def __getattr__(self, name: str) -> object:
            return getattr(index, name)

        def partition_points(self, collection: str, date: str, vehicle: str) -> dict[str, str]:
            held = index.partition_points(collection, date, vehicle)
            point = frame_point("veh-7", 1)
            index.upsert(COLLECTION, [replace(point, payload={**point.payload, "vehicle": "veh-8"})])
            return held

    result, _ = _sync(TakenOver(), range(0))  # type: ignore[arg-type]
    assert result.removed == 2
    assert index.partition_points(COLLECTION, DATE, "veh-8") == {moved: "g1"}


def test_a_date_that_is_none_is_refused(index: VectorIndex) -> None:
    with pytest.raises(InvalidInputError):
        sync_partition(index, COLLECTION, "2026-1-3", "veh-7", {}, Loader("veh-7", [], {}))


@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tables=st.lists(st.dictionaries(st.integers(0, 9), st.integers(1, 3)), min_size=1, max_size=3))
def test_after_any_history_the_points_are_those_of_the_last_table(
    index: VectorIndex, tables: list[dict[int, int]]
) -> None:
    for table in tables:
        before = index.partition_points(COLLECTION, DATE, "veh-7")
        wanted = {frame_id("veh-7", frame): f"g{generation}" for frame, generation in table.items()}
        result = sync_partition(index, COLLECTION, DATE, "veh-7", wanted, Loader("veh-7", table, wanted))
        assert index.partition_points(COLLECTION, DATE, "veh-7") == wanted
        assert result.unchanged == len(before.items() & wanted.items())
        assert result.upserted == len(wanted) - result.unchanged
        assert result.removed == len(before.keys() - wanted.keys())


NEVER = 1_000_000


def _start_sync(
    location: str, vehicle: str, frames: range, generation: int, stop: int = NEVER
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "video_assets_tests.vectors.sync_process", location, vehicle]
    numbers = [str(number) for number in (frames.start, frames.stop, generation, stop)]
    return subprocess.Popen([*command, *numbers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_killed_at_any_moment_and_rerun_the_points_are_as_if_undisturbed(location: str, tmp_path: Path) -> None:
    """Kill −9 between and inside batches; whatever a reader finds then is whole."""
    first, second = range(300), range(60, 360)
    undisturbed = tmp_path / "undisturbed"
    for place in (location, str(undisturbed)):
        index = open_vector_index(place)
        index.ensure(COLLECTION, DIM)
        _sync(index, first)
    _sync(index, second, generation=2)
    expected = contents(str(undisturbed))
    before = contents(location)

    for handed_over, delay_s in ((30, 0.0), (60, 0.03)):
        with _start_sync(location, "veh-7", second, 2, stop=handed_over + 22) as process:
            assert process.stdout is not None
            for _ in range(handed_over):
                assert process.stdout.readline() == "handed over\n"
            # Not for luck: any moment will do, and these differ.
            time.sleep(delay_s)
            process.kill()
        assert process.returncode == -9
        for point, (vector, payload) in contents(location).items():
            assert (vector, payload) in (before.get(point), expected.get(point))

    index = open_vector_index(location)
    result, _ = _sync(index, second, generation=2)
    assert 0 < result.upserted < 200
    assert contents(location) == expected
    index.close()


def test_two_processes_write_partitions_of_one_collection_at_once(index: VectorIndex, location: str) -> None:
    frames = range(100)
    with (
        _start_sync(location, "veh-7", frames, 1) as one,
        _start_sync(location, "veh-8", frames, 1) as other,
    ):
        answers = [process.communicate(timeout=60)[0].splitlines()[-1] for process in (one, other)]
    assert answers == [str(SyncResult(upserted=100, unchanged=0, removed=0))] * 2
    for vehicle in ("veh-7", "veh-8"):
        assert index.partition_points(COLLECTION, DATE, vehicle) == wanted_rows(vehicle, frames, 1)
    assert index.count(COLLECTION) == 200


def test_searches_are_answered_while_a_writer_is_busy(index: VectorIndex, location: str) -> None:
    _sync(index, range(20), vehicle="veh-8")
    query = frame_point("veh-8", 4)
    waits_s = []
    with _start_sync(location, "veh-7", range(1_500), 1) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        while writer.poll() is None:
            asked_at = time.monotonic()
            hits = index.query(COLLECTION, query.vector, limit=1)
            waits_s.append(time.monotonic() - asked_at)
            assert [hit.id for hit in hits] == [query.id]
        writer.communicate(timeout=60)
    assert writer.returncode == 0
    assert len(waits_s) > 1  # A writer keeps its turn for half a second.
    assert max(waits_s) < 5

"""What only the embedded index can get wrong: directories, locks, damage, kills."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_edge import EdgeShard

from video_assets.vectors import embedded_index, shard_turns
from video_assets.vectors.embedded_index import EmbeddedIndex
from video_assets.vectors.index_errors import (
    CollectionMismatchError,
    CollectionMissingError,
    IndexBusyError,
    IndexCorruptError,
    IndexLocationError,
    IndexUnwritableError,
    InvalidInputError,
)
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.shard_lock import hold_collection
from video_assets.vectors.shard_turns import Turn
from video_assets.vectors.vector_index import Point
from video_assets_tests.vectors.fleet_points import COLLECTION, DIM, contents, frame_id, frame_point, frame_vector


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An embedded index with one point."""
    place = tmp_path / "my index"
    index = EmbeddedIndex(place)
    index.ensure(COLLECTION, DIM)
    index.upsert(COLLECTION, [frame_point("veh-7", 1)])
    return place


def _search(directory: Path) -> list[str]:
    hits = EmbeddedIndex(directory).query(COLLECTION, frame_vector("veh-7", 1, 1), limit=3)
    return [hit.id for hit in hits]


def test_a_path_and_its_uri_are_the_same_index(directory: Path) -> None:
    assert " " in str(directory)
    for location in (str(directory), directory.as_uri(), directory.as_uri().replace("file://", "file://localhost")):
        index = open_vector_index(location)
        assert isinstance(index, EmbeddedIndex)
        assert index.count(COLLECTION) == 1


@pytest.mark.parametrize(
    "location", ["", "index", "./index", "~/index", "s3://bucket/index", "file://host/index", "file:index", "/a\0b"]
)
def test_locations_of_no_kind_are_refused(location: str) -> None:
    with pytest.raises(IndexLocationError, match=r"Give|Use"):
        open_vector_index(location)


def test_opening_and_reading_makes_no_files(tmp_path: Path) -> None:
    index = open_vector_index(str(tmp_path / "index"))
    assert index.collections() == []
    with pytest.raises(Exception, match="Materialize"):
        index.query(COLLECTION, frame_vector("veh-7", 1, 1), limit=1)
    assert list(tmp_path.iterdir()) == []


def test_a_half_made_collection_is_made_anew(directory: Path) -> None:
    left_behind = directory / "clip"
    (left_behind / "shard" / "segments").mkdir(parents=True)
    (left_behind / "shard" / "edge_config.json").write_text("{")
    (left_behind / "collection.json").write_text(json.dumps({"dim": DIM, "distance": "cosine"}))
    (left_behind / "making").touch()
    index = EmbeddedIndex(directory)
    assert index.collections() == [COLLECTION]
    with pytest.raises(CollectionMissingError):
        index.count("clip")
    index.ensure("clip", DIM)
    assert index.count("clip") == 0
    assert index.collections() == ["clip", COLLECTION]


def test_payload_indexes_that_a_kill_left_out_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = EmbeddedIndex(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(embedded_index, "INDEXED_FIELDS", {"vehicle": "keyword"})
        index.ensure(COLLECTION, DIM)
    index.ensure(COLLECTION, DIM)
    from qdrant_edge import EdgeShard

    shard = EdgeShard.load(str(tmp_path / COLLECTION / "shard"))
    assert shard.info().payload_schema.keys() == embedded_index.INDEXED_FIELDS.keys()
    shard.close()


def test_a_kill_while_collections_are_made_leaves_whole_ones(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "video_assets_tests.vectors.ensure_process", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number in range(2):
            assert process.stdout.readline() == f"{number}\n"
        # Not for luck: whatever it is about in the midst of the next one.
        time.sleep(0.05)
        process.kill()
    index = EmbeddedIndex(tmp_path)
    for name in [*index.collections(), "model-999"]:
        index.ensure(name, DIM)
        assert index.upsert(name, [frame_point("veh-7", 1)]) == 1
        assert index.count(name) == 1


def test_a_kill_before_the_flush_leaves_no_point_of_two_minds(tmp_path: Path) -> None:
    """Without the engine's log the vectors were the new ones, the payloads the old."""
    index = EmbeddedIndex(tmp_path)
    index.ensure(COLLECTION, DIM)
    index.upsert(COLLECTION, [frame_point("veh-7", frame) for frame in range(200)])
    command = [sys.executable, "-m", "video_assets_tests.vectors.killed_flush_process", str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -9
    held = contents(str(tmp_path))
    assert len(held) == 200
    for vector, payload in held.values():
        made_of = frame_vector("veh-7", payload["frame"], int(payload["row_hash"][1:]))
        assert np.dot(vector, made_of) / np.linalg.norm(made_of) == pytest.approx(1, abs=1e-5)


def test_threads_share_one_index(directory: Path) -> None:
    index = EmbeddedIndex(directory)
    errors: list[BaseException] = []

    def work(vehicle: str) -> None:
        try:
            for frame in range(3):
                index.upsert(COLLECTION, [frame_point(vehicle, frame)])
                assert index.query(COLLECTION, frame_vector(vehicle, frame, 1), limit=1)[0].id == frame_id(
                    vehicle, frame
                )
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(vehicle,)) for vehicle in ("veh-1", "veh-2", "veh-3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert index.count(COLLECTION) == 10


def test_a_search_that_waited_long_enough_says_who_is_to_blame(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_index, "READ_WAIT_S", 0.2)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with hold_collection(directory / ".locks", COLLECTION, 5):
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    asked_at = time.monotonic()
    with pytest.raises(IndexBusyError, match=r"0\.2 s.*Try again.*server"):
        _search(directory)
    assert 0.2 <= time.monotonic() - asked_at < 2
    release.set()
    holder.join()
    assert _search(directory) == [frame_id("veh-7", 1)]


def test_a_waiting_search_comes_before_the_writers_next_batch(directory: Path) -> None:
    """A writer that takes the collection again at once would starve who polls for it."""
    locks = directory / ".locks"
    order: list[str] = []
    writer_has_it, search_waits = threading.Event(), threading.Event()

    def write() -> None:
        for batch in range(3):
            with hold_collection(locks, COLLECTION, 30):
                order.append(f"batch {batch}")
                writer_has_it.set()
                search_waits.wait(30)
                # Until the search has its place in the queue.
                deadline = time.monotonic() + 30
                while batch == 0 and not _is_held(locks / f"{COLLECTION}.turn") and time.monotonic() < deadline:
                    time.sleep(0.005)

    def search() -> None:
        writer_has_it.wait(30)
        search_waits.set()
        with hold_collection(locks, COLLECTION, 30):
            order.append("search")

    threads = [threading.Thread(target=write), threading.Thread(target=search)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert order == ["batch 0", "search", "batch 1", "batch 2"]


def test_a_session_lets_a_search_in_between_two_batches(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept open from batch to batch, the shard would keep a search waiting until the whole partition is written."""
    monkeypatch.setattr("video_assets.vectors.collection.BATCH_BYTES", 1)
    monkeypatch.setattr("video_assets.vectors.shard_turns.KEPT_S", 0.0)
    turn = directory / ".locks" / f"{COLLECTION}.turn"
    found: list[list[str]] = []
    search = threading.Thread(target=lambda: found.append(_search(directory)))

    def points() -> Iterator[Point]:
        yield frame_point("veh-7", 2)
        yield frame_point("veh-7", 3)
        search.start()
        while not _is_held(turn):  # Until the search has its place in the queue.
            time.sleep(0.005)
        yield frame_point("veh-7", 4)
        yield frame_point("veh-7", 5)
        search.join(30)
        yield frame_point("veh-7", 6)

    index = EmbeddedIndex(directory)
    with index.session(COLLECTION):
        assert index.upsert(COLLECTION, points()) == 5
        assert index.count(COLLECTION) == 6
    assert len(found) == 1


def test_a_session_opens_once_however_many_wait(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers that gave way to each other after each call opened the shard for each call."""
    monkeypatch.setattr("video_assets.vectors.shard_turns.KEPT_S", 60.0)
    turn = directory / ".locks" / f"{COLLECTION}.turn"
    search = threading.Thread(target=_search, args=(directory,))
    index = EmbeddedIndex(directory)
    with index.session(COLLECTION):
        assert index.count(COLLECTION) == 1
        search.start()
        while not _is_held(turn):
            time.sleep(0.005)
        index.upsert(COLLECTION, [frame_point("veh-7", 2)])
        assert index.count(COLLECTION) == 2
        assert search.is_alive()
    search.join(30)
    assert not search.is_alive()


def test_bug_a_count_of_a_writer_gave_up_after_a_readers_wait(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_index, "READ_WAIT_S", 0.1)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with hold_collection(directory / ".locks", COLLECTION, 30):
            held.set()
            release.wait(30)

    index, holder = EmbeddedIndex(directory), threading.Thread(target=hold)
    with index.session(COLLECTION):
        index.upsert(COLLECTION, [frame_point("veh-7", 2)])
        index._turns._sessions.of[COLLECTION].end()
        holder.start()
        held.wait(30)
        threading.Timer(1, release.set).start()
        assert index.count(COLLECTION) == 2
    holder.join()


def test_what_is_slow_to_read_keeps_no_search_waiting(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("video_assets.vectors.collection.BATCH_BYTES", 1)
    searched: list[list[str]] = []

    def points() -> Iterator[Point]:
        for frame in range(2, 6):
            if frame > 3:
                searched.append(_search(directory))
            yield frame_point("veh-7", frame)

    index = EmbeddedIndex(directory)
    with index.session(COLLECTION):
        index.upsert(COLLECTION, points())
    assert len(searched) == 2


def test_a_session_between_two_calls_keeps_neither_search_nor_writer_waiting(directory: Path) -> None:
    """A packed backfill holds one from partition to partition, and decodes meanwhile."""
    index, other = EmbeddedIndex(directory), EmbeddedIndex(directory)
    with index.session(COLLECTION):
        index.upsert(COLLECTION, [frame_point("veh-7", 2)])
        assert len(_search(directory)) == 2
        index.upsert(COLLECTION, [frame_point("veh-7", 3)])
        other.upsert(COLLECTION, [frame_point("veh-7", 4)])
        assert index.count(COLLECTION) == 4
    assert not _is_held(directory / ".locks" / f"{COLLECTION}.lock")


def test_a_session_that_does_nothing_for_long_closes_the_shard(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook that knows of no locks could not open it for as long as a large partition is decoded."""
    monkeypatch.setattr(shard_turns, "_IDLE_S", 0.2)
    index = EmbeddedIndex(directory)
    with index.session(COLLECTION):
        assert index.count(COLLECTION) == 1
        deadline = time.monotonic() + 30
        while _is_held(directory / ".locks" / f"{COLLECTION}.lock"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        EdgeShard.load(str(directory / COLLECTION / "shard")).close()
        assert index.count(COLLECTION) == 1


def test_bug_a_session_kept_the_shard_once_its_locks_had_failed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that gives the turn up ended, and a search waited in vain for as long as a partition is decoded."""
    monkeypatch.setattr("video_assets.vectors.shard_turns.KEPT_S", 0.0)
    index = EmbeddedIndex(directory)
    locks, away = directory / ".locks", directory / ".away"
    with index.session(COLLECTION):
        assert index.count(COLLECTION) == 1
        locks.rename(away)
        locks.touch()
        deadline = time.monotonic() + 30
        while _is_held(away / f"{COLLECTION}.lock"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(IndexUnwritableError):
            index.count(COLLECTION)
        locks.unlink()
        away.rename(locks)
        assert index.count(COLLECTION) == 1
        assert len(_search(directory)) == 1


def test_a_session_opens_once_while_nobody_waits(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    load = Turn._load

    def counted(turn: Turn) -> EdgeShard:
        opened.append(1)
        return load(turn)

    monkeypatch.setattr(Turn, "_load", counted)
    monkeypatch.setattr(shard_turns, "_IDLE_S", 60.0)
    index = EmbeddedIndex(directory)
    with index.session(COLLECTION):
        for frame in range(2, 6):
            index.ensure(COLLECTION, DIM)
            index.upsert(COLLECTION, [frame_point("veh-7", frame)])
        assert index.count(COLLECTION) == 5
    assert len(opened) == 1


def test_an_error_in_a_session_gives_the_turn_up(directory: Path) -> None:
    index = EmbeddedIndex(directory)
    with index.session(COLLECTION):
        index.count(COLLECTION)
        with pytest.raises(InvalidInputError):
            index.delete(COLLECTION, ["no uuid"])
        with pytest.raises(CollectionMismatchError):
            index.ensure(COLLECTION, DIM + 1)
        assert _search(directory) == [frame_id("veh-7", 1)]
        assert index.count(COLLECTION) == 1


def _is_held(lock_file: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(lock_file).acquire(timeout=0):
            return False
    except Timeout:
        return True


def test_a_program_that_opens_the_shard_itself_is_waited_for_then_reported(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_index, "READ_WAIT_S", 0.3)
    shard = directory / COLLECTION / "shard"
    command = [sys.executable, "-m", "video_assets_tests.vectors.shard_holder_process", str(shard)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(IndexBusyError):
            _search(directory)
        monkeypatch.setattr(embedded_index, "READ_WAIT_S", 30.0)
        timer = threading.Timer(0.2, holder.stdin.close)  # type: ignore[union-attr]
        timer.start()
        assert _search(directory) == [frame_id("veh-7", 1)]
        timer.join()


@pytest.mark.parametrize("damage", ["segment", "log", "gone", "description", "distance"])
def test_damage_is_reported_with_the_way_out(directory: Path, damage: str) -> None:
    shard = directory / COLLECTION / "shard"
    description = directory / COLLECTION / "collection.json"
    match damage:
        case "segment":
            segment = next((shard / "segments").iterdir())
            (segment / "segment.json").write_text("{")
        case "log":
            for file in (shard / "wal").glob("open-*"):
                file.write_bytes(b"garbage" * 100)
        case "gone":
            shard.rename(directory / "elsewhere")
        case "description":
            description.unlink()
        case "distance":
            description.write_text('{"dim": 32, "distance": "dot"}')
    with pytest.raises(IndexCorruptError, match=r"mobilenet_v2.*Delete.*materialize vector_index") as caught:
        _search(directory)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_deleted_collection_is_built_again(directory: Path) -> None:
    import shutil

    shutil.rmtree(directory / COLLECTION)
    index = EmbeddedIndex(directory)
    index.ensure(COLLECTION, DIM + 1)
    assert index.count(COLLECTION) == 0


def test_a_place_that_is_no_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    index = EmbeddedIndex(tmp_path / "file" / "index")
    with pytest.raises(IndexUnwritableError, match="write to"):
        index.ensure(COLLECTION, DIM)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_place_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(IndexUnwritableError):
        EmbeddedIndex(tmp_path / "index").ensure(COLLECTION, DIM)
    tmp_path.chmod(0o700)

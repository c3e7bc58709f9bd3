"""Ticks of the upload sensor: every change runs once, and nothing that is made already, whatever was lost between."""

from __future__ import annotations

import io
import json
import os
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from video_assets.keys import Partition, uploads_seen_key
from video_assets.settings import Settings
from video_assets.sources.partition_scan import GONE
from video_assets.sources.upload_scan import scan as upload_scan
from video_assets.sources.upload_scan import window as upload_window
from video_assets.sources.upload_scan.cursor import CursorError
from video_assets.sources.upload_scan.memory import memory_name
from video_assets.stages import upload_watch
from video_assets.stages.manifest import build_manifest
from video_assets.stages.unmatched import build_unmatched
from video_assets.stages.upload_changes import MadeManifest
from video_assets.stages.upload_watch import Limits, Tick, UploadWatch
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import UNMATCHED, VIDEO_MANIFEST
from video_assets_tests.sources.chunk_uploads import put_stream

TODAY = datetime.now(UTC).date()
OLD = "2026-01-05"
KEY = f"{OLD}|veh-1"


@dataclass
class Reported:
    """What a Dagster instance would know."""

    events: dict[str, tuple[int, str]] = field(default_factory=dict)
    made: list[MadeManifest] = field(default_factory=list)

    def made_manifests(self, after: int, limit: int) -> list[MadeManifest]:
        return self.made[-1:] if after < 0 else [one for one in self.made if one.record > after][:limit]

    def partitions(self) -> list[str]:
        return list(self.events)

    def last(self, partition_keys: list[str]) -> dict[str, tuple[int, str]]:
        return {key: self.events[key] for key in partition_keys if key in self.events}

    def has_ended(self, run_key: str) -> bool:
        return any(one.run_key == run_key for one in self.made)


@dataclass
class Fleet:
    """A source, a store, and a sensor's cursor."""

    root: Path
    limits: Limits = field(default_factory=Limits)
    history: Reported = field(default_factory=Reported)
    cursor: str | None = None
    rest: int = 3
    """So many ticks without news are all there is; more where one cannot look at everything."""

    def __post_init__(self) -> None:
        (self.root / "uploads").mkdir(exist_ok=True)
        self.settings = Settings(
            source=str(self.root / "uploads"), store=str(self.root / "store"), index=str(self.root / "index")
        )
        self.tables = ParquetTables(open_store(self.settings.store, create=True))

    def put(self, key: str, data: bytes = b"video") -> Path:
        path = self.root / "uploads" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_bytes(data)
        path.with_suffix(".part").rename(path)
        os.utime(path, (time.time() - 3600,) * 2)
        return path

    def tick(self) -> Tick:
        watch = UploadWatch(self.settings, self.tables, self.tables.store, self.history, self.limits)
        tick = watch.tick(self.cursor)
        self.cursor = tick.cursor
        for change in tick.changes:
            self.history.events[change.partition_key] = (change.generation, change.fingerprint)
        return tick

    def run(self, tick: Tick) -> list[str]:
        """Runs what a tick asks for; returns the run keys."""
        for change in tick.changes:
            self.make(change.partition_key, change.run_key)
        return [change.run_key for change in tick.changes]

    def make(self, partition_key: str, run_key: str = "") -> None:
        partition = Partition.from_key(partition_key)
        self.tables.commit(build_manifest(partition, tables=self.tables, settings=self.settings).fold)
        self.history.made.append(MadeManifest(len(self.history.made) + 1, partition_key, run_key))

    def memories(self) -> list[str]:
        return [info.key for info in self.tables.store.list("uploads_seen/")]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet that no tick can look at wholly: 40 vehicles, pages of 2 keys, 20 pages a tick."""
    monkeypatch.setattr(upload_scan, "PAGE_KEYS", 2)
    monkeypatch.setattr(upload_window, "STRETCHES", 1)
    fleet = Fleet(tmp_path, Limits(sweep_pages=20), rest=20)
    for vehicle in range(40):
        for day in (OLD, "2026-03-01", TODAY):
            fleet.put(f"veh-{vehicle:02}/{day}/front/083000.mp4")
    return fleet


def ticks_until(fleet: Fleet, partition_key: str, limit: int = 60) -> int:
    for count in range(1, limit + 1):
        if partition_key in {change.partition_key for change in fleet.tick().changes}:
            return count
    raise AssertionError("it was never seen")


def come_to_rest(fleet: Fleet) -> int:
    quiet = ran = 0
    for _ in range(200):
        keys = fleet.run(fleet.tick())
        ran, quiet = ran + len(keys), 0 if keys else quiet + 1
        if quiet == fleet.rest:
            return ran
    raise AssertionError(f"it never comes to rest: {keys}")


def test_a_to_b_to_a_runs_three_times(fleet: Fleet) -> None:
    path = fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"a")
    keys = fleet.run(fleet.tick())
    aside = path.rename(fleet.root / "a")
    fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"other")
    keys += fleet.run(fleet.tick())
    aside.replace(path)
    keys += fleet.run(fleet.tick())
    assert len(set(keys)) == 3
    assert keys[0].split(":")[2] == keys[2].split(":")[2]
    assert fleet.run(fleet.tick()) == []


def test_bytes_that_only_the_run_saw_and_that_were_put_back_are_noticed(fleet: Fleet) -> None:
    path = fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"a")
    tick = fleet.tick()
    aside = path.rename(fleet.root / "a")
    fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"other")
    fleet.run(tick)
    aside.replace(path)
    assert [key.split(":")[:2] for key in fleet.run(fleet.tick())] == [[KEY, "2"]]
    assert come_to_rest(fleet) == 0


def test_what_a_run_saw_before_the_look_did_is_not_run_again(fleet: Fleet) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    tick = fleet.tick()
    fleet.put(f"veh-1/{OLD}/rear/083000.mp4")
    fleet.run(tick)
    assert fleet.run(fleet.tick()) == []


def test_what_another_made_is_not_made_again(fleet: Fleet) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.make(KEY)
    assert fleet.run(fleet.tick()) == []
    fleet.put(f"veh-1/{OLD}/rear/083000.mp4")
    fleet.make(KEY)
    assert fleet.run(fleet.tick()) == []


def test_in_a_large_source_today_is_seen_soon_and_any_day_in_the_end(large: Fleet) -> None:
    assert come_to_rest(large) == 120
    large.put(f"veh-33/{TODAY}/front/090000.mp4")
    assert ticks_until(large, f"{TODAY}|veh-33") <= 5
    large.put(f"veh-33/{OLD}/front/090000.mp4")
    assert ticks_until(large, f"{OLD}|veh-33") <= 20
    (large.root / f"uploads/veh-07/{OLD}/front/083000.mp4").unlink()
    for _ in range(20):
        if changes := large.tick().changes:
            break
    assert [(change.partition_key, change.fingerprint) for change in changes] == [(f"{OLD}|veh-07", GONE)]
    text = large.tick().text
    assert "look-back 10 of 40 folders, sweep " in text
    assert "last through " in text


def test_new_vehicles_do_not_wait_for_the_backlog_of_one(fleet: Fleet) -> None:
    fleet.limits = replace(fleet.limits, runs=4)
    for day in range(1, 20):
        fleet.put(f"veh-1/2026-02-{day:02}/front/083000.mp4")
    fleet.put(f"veh-2/{OLD}/front/083000.mp4")
    fleet.put(f"veh-3/{TODAY}/front/083000.mp4")
    tick = fleet.tick()
    assert {change.partition_key.partition("|")[2] for change in tick.changes} == {"veh-1", "veh-2", "veh-3"}
    assert "17 wait for a run" in tick.text
    assert come_to_rest(fleet) == 17


@pytest.mark.parametrize("loss", ["cursor", "memory", "damage", "version 1"])
def test_what_is_made_is_not_made_again_whatever_is_lost(fleet: Fleet, loss: str) -> None:
    for vehicle in range(3):
        fleet.put(f"veh-{vehicle}/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    (name,) = fleet.memories()
    if loss == "cursor":
        fleet.cursor = None
    elif loss == "memory":
        fleet.tables.store.delete(name)
    elif loss == "damage":
        fleet.tables.store.put(name, b"PAR1")
    else:
        fleet.cursor = f'{{"version": 1, "generation": 3, "seen": {{"{KEY}": "aa"}}, "unmatched": ""}}'
    tick = fleet.tick()
    assert tick.changes == []
    assert ("is looked at anew" in tick.text) == (loss in ("memory", "damage"))
    (fleet.root / f"uploads/veh-1/{OLD}/front/083000.mp4").unlink()
    fleet.put(f"veh-2/{OLD}/rear/083000.mp4")
    changes = {change.partition_key: change for change in fleet.tick().changes}
    assert set(changes) == {KEY, f"{OLD}|veh-2"}
    assert all(change.generation > 1 for change in changes.values()), "no run key comes again"


def test_uploads_that_went_while_the_memory_was_lost_are_noticed(fleet: Fleet) -> None:
    for vehicle in range(2):
        fleet.put(f"veh-{vehicle}/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    fleet.cursor = None
    (fleet.root / f"uploads/veh-1/{OLD}/front/083000.mp4").unlink()
    assert [(c.partition_key, c.fingerprint) for c in fleet.tick().changes] == [(KEY, GONE)]
    assert fleet.tick().changes == []


def test_a_tick_that_is_taken_again_gives_the_same_run_keys(fleet: Fleet) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    keys = [[change.run_key for change in fleet.tick().changes]]
    # Dagster has the events, and perhaps the runs, but not the cursor.
    fleet.cursor = None
    keys.append([change.run_key for change in fleet.tick().changes])
    assert keys[0] == keys[1] != []
    before = fleet.cursor
    fleet.put(f"veh-1/{OLD}/rear/083000.mp4")
    keys.append([change.run_key for change in fleet.tick().changes])
    fleet.cursor = before
    keys.append([change.run_key for change in fleet.tick().changes])
    assert keys[2] == keys[3] != keys[0]


def test_old_states_are_removed_and_the_one_that_a_cursor_names_is_not(fleet: Fleet) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    states = list((fleet.root / "store/uploads_seen").iterdir())
    for path in states:
        os.utime(path, (time.time() - 3600,) * 2)
    fleet.put(f"veh-1/{OLD}/rear/083000.mp4")
    fleet.run(fleet.tick())
    fleet.tick()
    assert not any(path.exists() for path in states)
    assert uploads_seen_key(json.loads(fleet.cursor or "")["memory"]) in fleet.memories()


def test_another_source_is_looked_at_anew_and_takes_nothing_for_gone(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    other = tmp_path / "other"
    (other / f"veh-1/{OLD}/front").mkdir(parents=True)
    (other / f"veh-1/{OLD}/front/083000.mp4").write_bytes(b"video")
    os.utime(other / f"veh-1/{OLD}/front/083000.mp4", (time.time() - 3600,) * 2)
    fleet.settings = Settings(source=str(other), store=fleet.settings.store, index=fleet.settings.index)
    tick = fleet.tick()
    assert "everything is looked at anew: the source or its path template is another" in tick.text
    assert [(c.partition_key, c.fingerprint == GONE) for c in tick.changes] == [(KEY, False)]


def test_a_first_day_that_moves_on_asks_for_no_day_before_it(fleet: Fleet) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    fleet.settings = fleet.settings.model_copy(update={"start_date": TODAY - timedelta(days=30)})
    tick = fleet.tick()
    assert tick.changes == []
    assert "1 unmatched" in tick.text


def test_a_source_that_is_away_leaves_the_cursor(fleet: Fleet) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    before, away = fleet.cursor, (fleet.root / "uploads").rename(fleet.root / "away")
    with pytest.raises(StoreUnavailable):
        fleet.tick()
    assert fleet.cursor == before
    away.rename(fleet.root / "uploads")
    assert fleet.tick().changes == []


def test_a_hostile_cursor_is_a_clear_stop(fleet: Fleet) -> None:
    fleet.cursor = '{"version": 2, "memory": "../../../etc/passwd"}'
    with pytest.raises(CursorError, match="Clear the sensor's cursor"):
        fleet.tick()


def test_a_cursor_stays_small(large: Fleet) -> None:
    come_to_rest(large)
    assert len(large.cursor or "") < 1500


def test_streams_of_chunks_run_when_they_are_complete_and_when_another_file_took_the_place(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.settings = fleet.settings.model_copy(update={"source_layout": "chunks", "settle_s": 0})
    source, name = open_store(fleet.settings.source_uri()), f"veh-1/{OLD}/front/083000.mp4"
    put_stream(source, name, bytes(2_500), complete=False)
    assert fleet.run(fleet.tick()) == []
    put_stream(source, name, bytes(2_500))
    assert len(fleet.run(fleet.tick())) == 1
    assert fleet.run(fleet.tick()) == []
    put_stream(source, name, bytes(900), stream_id="1" * 32, generation=1)
    assert len(fleet.run(fleet.tick())) == 1
    (row,) = fleet.tables.read(VIDEO_MANIFEST, Partition.from_key(KEY)).to_pylist()
    assert row["size_bytes"] == 900
    assert fleet.run(fleet.tick()) == []


def test_an_upload_that_was_overwritten_by_nothing_is_gone_and_asked_for_once(fleet: Fleet) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.put(f"veh-1/{OLD}/rear/083000.mp4")
    fleet.run(fleet.tick())
    fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"")
    assert come_to_rest(fleet) == 1
    rows = {row["camera"]: row for row in fleet.tables.read(VIDEO_MANIFEST, Partition.from_key(KEY)).to_pylist()}
    assert (rows["front"]["source_deleted_at"] is None, rows["rear"]["source_deleted_at"]) == (False, None)


def test_an_overwrite_that_settles_beside_a_new_upload_is_asked_for_once_and_once_more(fleet: Fleet) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    fleet.put(f"veh-1/{OLD}/rear/083000.mp4")
    young = fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"longer")
    os.utime(young)
    assert come_to_rest(fleet) == 1
    os.utime(young, (time.time() - 3600,) * 2)
    assert come_to_rest(fleet) == 1


@pytest.mark.parametrize(
    "change",
    [{"video_extensions": (".mov",)}, {"path_template": "{vehicle}/{date:%Y%m%d}/{camera}/{start:%H%M%S}{ext}"}],
)
def test_rows_of_what_the_settings_pass_over_by_now_are_not_made_again_for_ever(
    fleet: Fleet, change: dict[str, object]
) -> None:
    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    fleet.settings = fleet.settings.model_copy(update=change)
    assert come_to_rest(fleet) <= 1


def test_a_list_that_is_older_than_its_videos_is_not_made_again_until_it_is_another(fleet: Fleet) -> None:
    path, gone = (fleet.put(f"veh-1/{OLD}/{camera}/083000.mp4") for camera in ("front", "rear"))
    videos = fleet.root / "videos.csv"
    rows = [f"{one.as_uri()},5,as-it-was,2026-01-05T09:00:00" for one in (path, gone)]
    videos.write_text("\n".join(["video_path,size_bytes,etag,last_modified", *rows]))
    gone.unlink()
    fleet.settings = fleet.settings.model_copy(update={"video_list": str(videos)})
    assert come_to_rest(fleet) == 1
    listed = fleet.tables.provenance(VIDEO_MANIFEST, Partition.from_key(KEY))
    reported = fleet.history.events[KEY][1]
    assert listed is not None
    assert listed.upstream_version == reported, "the reconciler finds nothing to do"
    videos.write_text(videos.read_text() + "\n")
    assert come_to_rest(fleet) == 1, "it may be that the videos are as they were, by now"


def test_what_a_tick_that_died_has_run_is_made_again_where_it_saw_other_bytes(fleet: Fleet) -> None:
    """Dagster has the run, and not the cursor: the same run key again would run nothing."""
    fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"a")
    fleet.run(fleet.tick())
    before = fleet.cursor
    path = fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"b")
    tick = fleet.tick()
    fleet.cursor = before
    aside = path.rename(fleet.root / "b")
    fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"other")
    (died,) = fleet.run(tick)
    aside.replace(path)
    (again,) = fleet.run(fleet.tick())
    assert again != died
    assert come_to_rest(fleet) == 0


def test_a_sensor_that_was_off_while_others_made_more_than_it_takes_in_at_once_asks_for_none_of_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for vehicle in range(3):
        fleet.put(f"veh-{vehicle}/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    for vehicle in range(3):
        fleet.put(f"veh-{vehicle}/{OLD}/rear/083000.mp4")
    fleet.make(KEY)
    monkeypatch.setattr(upload_watch, "note_made", lambda *_, **__: False)
    assert {change.partition_key for change in fleet.tick().changes} == {f"{OLD}|veh-0", f"{OLD}|veh-2"}


def test_a_memory_of_the_version_before_is_read(fleet: Fleet) -> None:
    import pyarrow.parquet as pq

    fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.run(fleet.tick())
    fleet.tick()
    (key, *_) = [key for key in fleet.memories() if key == uploads_seen_key(json.loads(fleet.cursor or "")["memory"])]
    sink = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(fleet.tables.store.get(key))).drop_columns(["doubted"]), sink)
    name = memory_name(sink.getvalue())
    fleet.tables.store.put(uploads_seen_key(name), sink.getvalue())
    fleet.cursor = json.dumps({**json.loads(fleet.cursor or ""), "memory": name})
    tick = fleet.tick()
    assert (tick.changes, "anew" in tick.text) == ([], False)


def test_a_run_key_is_not_used_again_for_what_its_run_did_not_see(fleet: Fleet) -> None:
    """The memory is lost, and so is what the run saw; what was reported last is the same again."""
    path = fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"a")
    tick = fleet.tick()
    aside = path.rename(fleet.root / "a")
    fleet.put(f"veh-1/{OLD}/front/083000.mp4", b"other")
    (first,) = fleet.run(tick)
    aside.replace(path)
    fleet.cursor = None
    (again,) = fleet.run(fleet.tick())
    assert again != first
    assert come_to_rest(fleet) == 0


def test_what_only_another_s_run_saw_and_is_gone_is_noticed(fleet: Fleet) -> None:
    fleet.tick()
    path = fleet.put(f"veh-1/{OLD}/front/083000.mp4")
    fleet.make(KEY)
    path.unlink()
    assert come_to_rest(fleet) == 1
    (row,) = fleet.tables.read(VIDEO_MANIFEST, Partition.from_key(KEY)).to_pylist()
    assert row["source_deleted_at"] is not None


def test_what_another_s_run_saw_before_the_sweep_came_to_it_is_not_taken_for_gone(large: Fleet) -> None:
    come_to_rest(large)
    for camera in ("left", "right"):
        for vehicle in range(60, 64):
            large.put(f"veh-{vehicle}/2026-03-02/{camera}/083000.mp4")
    for vehicle in range(60, 64):
        large.make(f"2026-03-02|veh-{vehicle}")
    assert come_to_rest(large) == 0


def test_the_unmatched_are_listed_again_where_the_run_saw_others(fleet: Fleet) -> None:
    keys = []

    def listed(tick: Tick) -> None:
        keys.append(tick.unmatched_run_key)
        if tick.unmatched_run_key:
            fleet.tables.commit(build_unmatched(tables=fleet.tables, settings=fleet.settings).fold)

    fleet.put("stray.mp4")
    tick = fleet.tick()
    other = fleet.put("other.mp4")
    listed(tick)
    other.unlink()
    listed(fleet.tick())
    listed(fleet.tick())
    assert [key is not None for key in keys] == [True, True, False]
    assert len(set(keys)) == 3
    assert len(fleet.tables.read(UNMATCHED, None)) == 1


@pytest.mark.parametrize("vehicles", [120, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_new_vehicles_at_once_are_each_asked_for_once(fleet: Fleet, vehicles: int) -> None:
    for number in range(vehicles):
        fleet.put(f"veh-{number:04}/{TODAY}/front/083000.mp4", b"v")
    asked = [change.partition_key for _ in range(vehicles // 50 + 2) for change in fleet.tick().changes]
    assert len(asked) == len(set(asked)) == vehicles

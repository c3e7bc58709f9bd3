"""`fleet_windows`: a day asked for, its bags in the store, and what a rerun asks; then the manifest and clips of it."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from video_assets.keys import Partition
from video_assets.settings import SettingsError
from video_assets.sources.fleet.fetch import FAILURES_IN_A_ROW
from video_assets.sources.fleet.windows import InvalidWindows, day_windows
from video_assets.stages.clips import build_clips
from video_assets.stages.counts import lost_items
from video_assets.stages.failures import failed_items
from video_assets.stages.fleet_windows import ask_for_day, counts_of, draw_availability, heat_map, newest_partitions
from video_assets.stages.frames import build_frames
from video_assets.stages.garbage import collect_garbage
from video_assets.stages.manifest import build_manifest
from video_assets.stages.staleness import examine, recipes
from video_assets.stages.status import chain_status
from video_assets.storage.object_store import StoreError
from video_assets.storage.registry import open_store
from video_assets.table_store.registry import open_tables
from video_assets.tables import CLIPS, FLEET_WINDOWS, VIDEO_MANIFEST
from video_assets.video.heat_map import Share
from video_assets_tests.servers.fleet_api import TOKEN, FleetApi, serve_fleet_api
from video_assets_tests.servers.odps_environment import odps_server, odps_settings
from video_assets_tests.stages.fleet_day import DAY, FleetDay, real_bag


@pytest.fixture
def day(tmp_path: Path) -> Iterator[FleetDay]:
    with serve_fleet_api(FleetApi(way="direct")) as api:
        yield FleetDay(tmp_path, api)


def test_each_window_is_a_row_and_each_bag_is_in_the_store(day: FleetDay) -> None:
    day.has("front", 8, 9)
    day.has("rear", 20)
    asked = day.ask()
    assert counts_of(asked.fold) == {"saved": 3, "missing": 45}
    assert asked.result.counts == {"saved": 3, "missing": 45}
    row = day.rows()[8]
    bag = day.api.bags["veh-1", "front", day.starts[8]]
    assert (row["camera"], row["start_time"].timestamp(), row["status"]) == ("front", day.starts[8], "ok")
    assert (row["end_time"] - row["start_time"]).total_seconds() == 30
    assert row["bag_uri"].endswith(f"/blobs/front/{DAY:%Y%m%d}T080000Z_30s.bag")
    store = open_store(str(day.root / "store"))
    key = store.key_of(row["bag_uri"])
    assert key is not None
    assert store.get(key, etag=row["etag"]) == bag
    assert row["size_bytes"] == len(bag)
    assert day.states("rear") == ["missing"] * 20 + ["saved"] + ["missing"] * 3


def test_a_rerun_asks_for_nothing_but_what_is_due(day: FleetDay) -> None:
    day.has("front", 8, 9)
    day.ask()
    before, day.api.asked = day.tables.version(FLEET_WINDOWS, day.partition), []
    assert day.ask().result.counts == {"earlier": 48}
    assert not day.api.asked
    assert day.tables.version(FLEET_WINDOWS, day.partition) == before
    day.has("rear", 3)
    assert day.ask(fleet_recheck_s=0).result.counts == {"earlier": 2, "missing": 45, "saved": 1}
    day.api.asked = []
    (Path(day.root) / "store" / "fleet_windows").joinpath(
        *day.partition.path.split("/"), "blobs", "front", f"{DAY:%Y%m%d}T080000Z_30s.bag"
    ).unlink()
    assert day.ask().result.counts == {"earlier": 47, "saved": 1}, "a bag that somebody took away is fetched again"
    assert day.api.windows_asked() == [("veh-1", "front", day.starts[8])]


def test_a_refused_token_stops_and_what_is_done_shows_and_stays(day: FleetDay) -> None:
    day.has("front", *range(24))
    day.api.faults["/v1/video"] = [0] * 5 + [403] * 9
    stopped = day.ask(fleet_cameras="front")
    assert "is not taken by the service (status 403)" in stopped.result.stopped
    assert not stopped.result.is_away
    assert counts_of(stopped.fold) == {"saved": 5, "unknown": 19}
    unknown = [row for row in day.rows() if row["state"] == "unknown"]
    assert {(row["status"], row["error_stage"]) for row in unknown} == {("filtered", "not_asked")}
    day.api.faults = {}
    again = day.ask(fleet_cameras="front")
    assert again.result.counts == {"earlier": 5, "saved": 19}
    asked = Counter(asked.query["startTime"] for asked in day.api.asked if asked.path == "/v1/video")
    assert sum(asked.values()) == 25, "one was asked for with the token that was refused"


def test_a_service_that_is_away_stops_the_run_and_each_failure_is_a_row(day: FleetDay) -> None:
    day.has("front", 0, 1)
    day.api.faults["/v1/video"] = [0, 0] + [500] * 1000
    fast = {"fleet_cameras": "front", "fleet_workers": 1}
    away = day.ask(**fast, fleet_url="http://127.0.0.1:9")
    assert away.result.is_away
    assert away.result.counts == {"failed": FAILURES_IN_A_ROW, "left": 24 - FAILURES_IN_A_ROW}
    assert "10 windows failed one after the other" in away.result.stopped
    failed = day.rows()[0]
    assert (failed["status"], failed["error_stage"], failed["attempts"]) == ("failed", "fetch", 1)
    assert failed["error_msg"].startswith(f"front {DAY} 00:00:00: /v1/video: no whole reply from 127.0.0.1:9")
    told = failed_items(away.fold, day.settings())
    assert [str(one) for one in told[:2]] == [row["error_msg"] for row in day.rows()[:2]]
    assert not day.api.asked


def test_a_window_that_fails_is_tried_in_so_many_runs(day: FleetDay) -> None:
    day.has("front", 5, data=b"too small")
    for attempt in (1, 2):
        counts = day.ask(fleet_min_valid_bytes=100, max_attempts=2, fleet_cameras="front").result.counts
        assert counts["failed"] == 1
        assert day.rows()[5]["attempts"] == attempt
    assert "has 9 bytes, fewer than 100" in day.rows()[5]["error_msg"]
    day.api.asked = []
    assert day.ask(max_attempts=2, fleet_cameras="front").result.counts == {"earlier": 24}
    assert not day.api.asked
    day.ask(max_attempts=3, fleet_cameras="front")
    assert day.rows()[5]["state"] == "saved"


def test_a_cap_is_of_the_vehicle_and_counts_what_is_there(day: FleetDay) -> None:
    for camera in ("front", "rear"):
        day.has(camera, *range(24), data=b"a bag")
    assert counts_of(day.ask(fleet_max_files=5).fold) == {"saved": 5, "unknown": 43}
    day.api.asked = []
    day.ask(fleet_max_files=5)
    assert not day.api.asked
    assert counts_of(day.ask(fleet_max_files=7).fold) == {"saved": 7, "unknown": 41}


def test_a_store_that_takes_nothing_ends_all_cameras_at_once(day: FleetDay) -> None:
    for camera in day.cameras:
        day.has(camera, *range(24), data=b"a bag")
    blobs = day.root / "store" / "fleet_windows" / Path(day.partition.path) / "blobs"
    blobs.parent.mkdir(parents=True)
    blobs.write_text("no folder")
    with pytest.raises(StoreError):
        day.ask()
    assert 0 < len(day.api.windows_asked()) <= len(day.cameras)


def test_days_that_cannot_be_asked_for_are_refused_in_words(day: FleetDay) -> None:
    day.has("front", 0)
    today = datetime.now(UTC).date()
    with pytest.raises(InvalidWindows, match="is not over at 00:00 UTC of today"):
        day.ask(day=today)
    with pytest.raises(InvalidWindows, match=r"lies further back than 5 days\. The newest that can be asked for is"):
        day.ask(day=DAY - timedelta(days=6))
    with pytest.raises(SettingsError, match="VIDEO_ASSETS_FLEET_VEHICLES: does not name veh-1"):
        day.ask(fleet_vehicles="veh-9")
    assert not day.api.asked
    day.ask()
    day.api.asked = []
    later = day.ask(now=datetime.now(UTC) + timedelta(days=20), fleet_recheck_s=0)
    assert "lies further back than 5 days" in later.refusal
    assert counts_of(later.fold) == {"saved": 1, "missing": 47}, "what is known of an old day stays"
    assert not day.api.asked


def test_the_newest_day_of_each_vehicle_is_asked_for(day: FleetDay) -> None:
    morning = datetime(2026, 3, 28, 0, 30, tzinfo=UTC)
    found = newest_partitions(day.settings(timezone="Asia/Shanghai"), morning)
    assert [partition.key for partition in found] == ["2026-03-27|veh-1", "2026-03-27|veh-2"]
    found = newest_partitions(day.settings(timezone="America/Los_Angeles"), morning)
    assert {partition.date for partition in found} == {"2026-03-26"}
    assert newest_partitions(day.settings(start_date="2026-04-01"), morning) == []


def chain(day: FleetDay, **changes: object) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """The rows of manifest and clips; both and frames are committed."""
    settings, tables, partition = day.settings(**changes), day.tables, day.partition
    tables.commit(build_manifest(partition, tables=tables, settings=settings).fold)
    parts = {"tables": tables, "settings": settings, "report": lambda line: None}
    clips = build_clips(partition, partial(tables.read, VIDEO_MANIFEST, partition), **parts)  # type: ignore[arg-type]
    assert lost_items(clips) == (set(), set())
    tables.commit(clips)
    frames = build_frames(partition, partial(tables.read, CLIPS, partition), **parts)  # type: ignore[arg-type]
    assert lost_items(frames) == (set(), set())
    tables.commit(frames)
    return tables.read(VIDEO_MANIFEST, partition).to_pylist(), clips.rows.to_pylist()


def test_bags_are_a_source_beside_uploads(day: FleetDay) -> None:
    day.has("front", 8)
    day.ask()
    ((row,), (clip,)) = chain(day)
    assert (row["source"], row["camera"], row["status"]) == ("fleet_api", "front", "ok")
    assert row["start_time"] == datetime.fromtimestamp(day.starts[8], UTC)
    assert (clip["camera"], clip["codec"], clip["frame_count"]) == ("front", "mjpeg", 4)
    assert clip["start_time"] == row["start_time"]
    uploads = {"source": str(day.root / "uploads"), "video_extensions": (".bag",), "settle_s": 0}
    path = day.root / "uploads" / "veh-1" / DAY.isoformat() / "left" / "070000.bag"
    path.parent.mkdir(parents=True)
    path.write_bytes(real_bag(day.root, day.starts[7]))
    rows, clips = chain(day, **uploads)
    assert Counter(str(row["source"]) for row in rows) == {"fleet_api": 1, "listing": 1}
    assert [clip["status"] for clip in clips] == ["ok", "ok"]
    path.unlink()
    rows, _ = chain(day, **uploads, on_source_delete="remove")
    gone = {row["source"]: row["source_deleted_at"] is not None for row in rows}
    assert gone == {"fleet_api": False, "listing": True}, "half of the partition is too much to remove"
    rows, _ = chain(day, **uploads, fleet_vehicles="", fleet_cameras="")
    assert len(rows) == 2, "what is of a source that is not asked any more is not known to be gone"


def test_a_manifest_that_is_behind_its_windows_is_stale(day: FleetDay) -> None:
    day.has("front", 8)
    day.ask()
    now = recipes(day.settings())
    missing = examine(day.partition, day.tables, now).outdated
    assert [(one.stage, one.state) for one in missing][:2] == [("video_manifest", "missing"), ("clips", "missing")]
    chain(day)
    assert [one.stage for one in examine(day.partition, day.tables, now).outdated] == ["embeddings", "vector_index"]
    day.has("rear", 9)
    day.ask(fleet_recheck_s=0)
    first = examine(day.partition, day.tables, now).outdated[0]
    assert (first.stage, first.reasons) == ("video_manifest", ("fleet_windows changed since",))
    statuses, _ = chain_status(day.tables, day.settings())
    assert (statuses[0].stage, statuses[0].ok, statuses[1].stale[0].partition) == (
        "fleet_windows",
        48,
        day.partition.key,
    )


def test_garbage_takes_no_bag_and_no_answer(day: FleetDay) -> None:
    day.has("front", 8)
    day.ask()
    store = open_store(str(day.root / "store"))
    before = {info.key for info in store.list()}
    counts = collect_garbage(day.tables, store, grace_h=0)
    assert {info.key for info in store.list()} == before
    assert not counts, "they are of known kinds"


def test_answers_are_written_down_as_they_come_and_joined_at_the_end(day: FleetDay) -> None:
    day.has("front", *range(24), data=b"a bag")
    answers = day.root / "store" / "fleet_windows" / Path(day.partition.path) / "items"
    day.ask()
    (only,) = answers.iterdir()
    only.write_text(only.read_text() + '["front", 1, "x"\nno JSON\n{}\n[1]\n["front", "a", 2, "saved", 0, 0, ""]\n')
    assert day.ask().result.counts == {"earlier": 48}, "lines that cannot be read say nothing"
    only.unlink()
    again = day.ask()
    assert again.result.counts == {"earlier": 24, "missing": 24}, "a bag is its own record"
    assert counts_of(again.fold)["saved"] == 24


def test_hours_of_the_heat_map_are_the_fleets_own(day: FleetDay) -> None:
    zone, long_day = ZoneInfo("Europe/Berlin"), Date(2026, 10, 25)
    rows = [
        {"camera": "front", "start_time": w.start, "end_time": w.start, "state": "missing" if n % 4 else "saved"}
        for n, w in enumerate(day_windows(long_day, zone, step_s=900))
    ]
    rows[4]["state"] = rows[5]["state"] = "unknown"
    table = FLEET_WINDOWS.rows(rows)
    partition, settings = Partition(long_day.isoformat(), "veh-1"), day.settings(timezone="Europe/Berlin")
    shares = heat_map(partition, table, settings)
    assert shares.columns[:5] == ["00", "01", "02", "02", "03"]
    assert len(shares.rows["front"]) == len(shares.columns) == 25
    assert shares.rows["front"][:3] == [Share(1, 4, 4), Share(0, 2, 4), Share(1, 4, 4)]
    image = draw_availability(partition, table, settings)
    assert image is not None
    assert len(image) < 50_000
    with Image.open(io.BytesIO(image)) as opened:
        assert opened.width > 25 * 36
    assert draw_availability(partition, table.slice(0, 0), settings) is None


def test_the_day_is_asked_for_by_one_run_at_a_time(day: FleetDay) -> None:
    from concurrent.futures import ThreadPoolExecutor

    day.has("front", 1)
    with ThreadPoolExecutor(2) as pool:
        begun = time.monotonic()
        for future in [pool.submit(ask_and_fold, day) for _ in range(2)]:
            future.result()
    assert time.monotonic() - begun < 60
    asked = day.api.windows_asked()
    assert len(asked) == len(set(asked)) == 48


def ask_and_fold(day: FleetDay) -> None:
    ask_for_day(day.partition, tables=day.tables, settings=day.settings(), report=lambda line: None)


def test_no_secret_is_in_a_row(day: FleetDay) -> None:
    day.has("front", 8, data=b"too small")
    day.api.way = "redirect-302"
    day.ask(fleet_min_valid_bytes=100)
    (failed,) = [row for row in day.rows() if row["status"] == "failed"]
    assert TOKEN not in str(failed)
    assert "Signature" not in str(failed)


def test_bags_in_a_bucket_and_windows_in_odps_are_the_same(day: FleetDay, s3_root: str) -> None:
    day.has("front", 8)
    on_disk = day.ask().fold
    with odps_server() as server:
        settings = day.settings(store=f"{s3_root}/home", tables="odps", **odps_settings(server))
        tables = open_tables(settings, create=True)
        parts = {"tables": tables, "settings": settings, "report": lambda line: None}
        for due in (48, 0):
            day.api.asked = []
            asked = ask_for_day(day.partition, **parts)  # type: ignore[arg-type]
            tables.commit(asked.fold)
            assert counts_of(asked.fold) == counts_of(on_disk)
            assert len(day.api.windows_asked()) == due
        tables.commit(build_manifest(day.partition, tables=tables, settings=settings).fold)
        (row,) = tables.read(VIDEO_MANIFEST, day.partition).to_pylist()
        assert row["video_path"].startswith("s3://")
        assert row["start_time"] == datetime.fromtimestamp(day.starts[8], UTC)
        clips = build_clips(day.partition, partial(tables.read, VIDEO_MANIFEST, day.partition), **parts)  # type: ignore[arg-type]
        assert clips.rows["status"].to_pylist() == ["ok"]
        assert examine(day.partition, tables, recipes(settings)).outdated[0].stage == "clips"

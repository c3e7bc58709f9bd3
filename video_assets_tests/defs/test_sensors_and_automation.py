"""The upload sensor's ticks, and what the refresh conditions ask for: late dates too, and nothing for no news."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from video_assets.definitions import defs
from video_assets.defs import sensors
from video_assets.defs.jobs import CHAIN_ASSETS
from video_assets.defs.packed import packed_job
from video_assets.settings import Settings
from video_assets_tests.defs.fleet_in_memory import SmallFleet, small_fleet

KEY = "2026-01-05|veh-1"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallFleet]:
    with small_fleet(tmp_path, []) as fleet:
        settings = Settings(source=str(tmp_path / "uploads"))
        monkeypatch.setattr(sensors, "deployment", lambda: (settings, fleet.tables))
        yield fleet


def tick(fleet: SmallFleet, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=fleet.instance, cursor=cursor)
    result = sensors.upload_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_tick_asks_for_what_is_new_and_adds_its_vehicle(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4", data=b"x")
    first = tick(fleet, None)
    assert [request.partition_key for request in first.run_requests or []] == [KEY]
    (added,) = first.dynamic_partitions_requests or []
    assert added.partition_keys == ["veh-1"]
    (event,) = first.asset_events
    assert isinstance(event, dg.AssetMaterialization)
    assert (event.partition, event.metadata["videos"].value) == (KEY, 1)
    again = tick(fleet, first.cursor)
    assert not again.run_requests
    assert again.skip_reason


def test_no_source_is_a_reason_to_skip(fleet: SmallFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "deployment", lambda: (Settings(source=None), fleet.tables))
    result = sensors.upload_sensor(dg.build_sensor_context(instance=fleet.instance))
    assert isinstance(result, dg.SkipReason)
    assert "VIDEO_ASSETS_SOURCE" in (result.skip_message or "")


def test_a_source_that_is_away_is_a_reason_to_skip_and_its_return_no_news(fleet: SmallFleet, tmp_path: Path) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4", data=b"x")
    cursor = tick(fleet, None).cursor
    away = (tmp_path / "uploads").rename(tmp_path / "away")
    result = sensors.upload_sensor(dg.build_sensor_context(instance=fleet.instance, cursor=cursor))
    assert isinstance(result, dg.SkipReason)
    assert "Make the folder, mount its disk, or correct the URI" in (result.skip_message or "")
    away.rename(tmp_path / "uploads")
    assert not tick(fleet, cursor).run_requests


def test_hostile_and_unmatched_keys_are_counted_and_stop_nothing(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4", data=b"x")
    fleet.upload("bad|id/2026-01-05/front/083000.mp4", data=b"x")
    fleet.upload("veh-1/1970-01-01/front/083000.mp4", data=b"x")
    first = tick(fleet, None)
    requests = first.run_requests or []
    assert [(r.job_name, r.partition_key) for r in requests] == [("chain", KEY), ("list_unmatched", None)]
    again = tick(fleet, first.cursor)
    assert not again.run_requests, "the same unmatched are listed once"
    told = str(again.skip_reason.skip_message if again.skip_reason else "")
    assert told.startswith("1 video, nothing new; 2 unmatched, e.g. bad|id/2026-01-05/front/083000.mp4: ")
    (fleet.root / "uploads/veh-1/1970-01-01/front/083000.mp4").unlink()
    assert [r.job_name for r in tick(fleet, again.cursor).run_requests or []] == ["list_unmatched"]


def test_a_tick_tells_only_what_there_is(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4", data=b"x")
    fleet.upload("veh-1/2026-01-05/rear/083000.mp4", data=b"")
    again = tick(fleet, tick(fleet, None).cursor)
    assert again.skip_reason
    text = again.skip_reason.skip_message or ""
    assert re.fullmatch(r"1 video, nothing new; skipped 1 \(1 empty\); [0-9.]+ s", text), text


def requested(fleet: SmallFleet, cursor: object = None) -> tuple[dict[str, set[str]], object]:
    result = dg.evaluate_automation_conditions(defs, fleet.instance, cursor=cursor)  # type: ignore[arg-type]
    found: dict[str, set[str]] = {}
    for name in ("clips", "frames", "embeddings", "vector_index", "fleet_daily"):
        keys = {str(key) for key in result.get_requested_partitions(dg.AssetKey(name))}
        if keys:
            found[name] = keys
    return found, result.cursor


def test_new_data_on_an_old_date_is_followed_and_no_news_is_not(fleet: SmallFleet) -> None:
    fleet.instance.add_dynamic_partitions("vehicle", ["veh-1", "veh-2"])
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    _, cursor = requested(fleet)
    fleet.run(["video_manifest"], partition_key=KEY)
    found, cursor = requested(fleet, cursor)
    assert found == {**{name: {KEY} for name in CHAIN_ASSETS[1:]}, "fleet_daily": {"2026-01-05"}}
    fleet.run(CHAIN_ASSETS[1:], partition_key=KEY)
    fleet.run(["fleet_daily"], partition_key="2026-01-05")
    _, cursor = requested(fleet, cursor)
    fleet.run(["video_manifest"], partition_key=KEY)
    found, cursor = requested(fleet, cursor)
    assert found == {}, "the same manifest again is no news"
    fleet.upload("veh-1/2026-01-05/rear/083000.mp4")
    fleet.run(["video_manifest"], partition_key=KEY)
    found, _ = requested(fleet, cursor)
    assert found["clips"] == {KEY}


def test_nobody_asks_for_what_a_packed_run_has_made(fleet: SmallFleet) -> None:
    """Its events come all at once: between them automation would ask for a run of each partition."""
    fleet.instance.add_dynamic_partitions("vehicle", ["veh-1"])
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    _, cursor = requested(fleet)
    job = dg.Definitions(jobs=[packed_job], resources=fleet.resources).resolve_job_def(packed_job.name)
    config = {"partitions": [KEY, "2026-01-06|veh-1"]}
    job.execute_in_process(instance=fleet.instance, run_config={"ops": {"make_partitions": {"config": config}}})
    found, _ = requested(fleet, cursor)
    assert found == {"fleet_daily": {"2026-01-05", "2026-01-06"}}

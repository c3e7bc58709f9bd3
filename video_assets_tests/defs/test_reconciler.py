"""The reconciler's sensor on an instance: what it asks for, what a run of it repairs, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from video_assets.definitions import defs
from video_assets.defs import reconciler as module
from video_assets.defs.jobs import CHAIN_ASSETS
from video_assets.defs.launch import upload_event
from video_assets.defs.packed import packed_job
from video_assets.keys import Partition
from video_assets.sources.registry import open_source
from video_assets.stages.manifest_scan import manifest_scan
from video_assets.stages.staleness import examine, recipes
from video_assets.storage.object_store import StoreUnavailable
from video_assets_tests.defs.fleet_in_memory import SmallFleet, small_fleet

KEY = "2026-01-05|veh-1"
DAY = Partition.from_key(KEY)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallFleet]:
    with small_fleet(tmp_path, ["veh-1"]) as fleet:
        monkeypatch.setattr(module, "deployment", lambda: (fleet.settings, fleet.tables))
        yield fleet


def tick(fleet: SmallFleet, cursor: str | None) -> tuple[list[dg.RunRequest], str, str | None]:
    """What a tick asks for, what it says, and its cursor."""
    context = dg.build_sensor_context(instance=fleet.instance, cursor=cursor)
    result = module.reconciler(context)
    assert isinstance(result, dg.SensorResult)
    told = str(result.skip_reason.skip_message) if result.skip_reason else ""
    return list(result.run_requests or []), told, result.cursor


def two_ticks(fleet: SmallFleet) -> list[dg.RunRequest]:
    first, _, cursor = tick(fleet, None)
    assert first == []
    return tick(fleet, cursor)[0]


def requested(fleet: SmallFleet, cursor: object) -> tuple[set[str], object]:
    """The chain's assets that automation asks for."""
    result = dg.evaluate_automation_conditions(defs, fleet.instance, cursor=cursor)  # type: ignore[arg-type]
    found = {name for name in CHAIN_ASSETS if result.get_requested_partitions(dg.AssetKey(name))}
    return found, result.cursor


def test_an_update_that_lands_in_the_tick_after_a_request_is_dropped_and_the_reconciler_repairs_it(
    fleet: SmallFleet,
) -> None:
    """Automation notes an update and asks; a second update lands before the next tick, and is taken for handled."""
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    fleet.run(CHAIN_ASSETS, partition_key=KEY)
    fleet.run(["fleet_daily"], partition_key=DAY.date)
    _, cursor = requested(fleet, None)
    fleet.upload("veh-1/2026-01-05/rear/083000.mp4", frames=8)
    fleet.run(["video_manifest"], partition_key=KEY)
    asked, cursor = requested(fleet, cursor)
    assert "clips" in asked
    # The run that was asked for reads the manifest now; the next upload comes while it works.
    fleet.run(CHAIN_ASSETS[1:], partition_key=KEY)
    fleet.upload("veh-1/2026-01-05/top/083000.mp4", frames=9)
    fleet.run(["video_manifest"], partition_key=KEY)
    for _ in range(3):
        asked, cursor = requested(fleet, cursor)
        assert "clips" not in asked, "Dagster repairs this itself by now: say so in reference and README"
    stale = examine(DAY, fleet.tables, recipes(fleet.settings)).outdated
    assert [one.stage for one in stale] == ["clips"]
    (request,) = two_ticks(fleet)
    assert [key.to_user_string() for key in request.asset_selection or []] == list(CHAIN_ASSETS[1:])
    assert (request.job_name, request.partition_key) == ("chain", KEY)
    assert request.tags["video_assets/reason"] == "clips is stale: video_manifest changed since"
    fleet.run(CHAIN_ASSETS[1:], partition_key=KEY)
    assert examine(DAY, fleet.tables, recipes(fleet.settings)).outdated == ()


def test_uploads_that_were_seen_and_never_listed_are_asked_for(fleet: SmallFleet) -> None:
    fleet.instance.report_runless_asset_event(upload_event(KEY, "seen", None))
    (request,) = two_ticks(fleet)
    assert len(request.asset_selection or []) == len(CHAIN_ASSETS)
    assert str(request.run_key).startswith(f"reconcile:{KEY}:1:")


def test_a_run_that_waits_or_a_packed_one_is_left_to_its_work(fleet: SmallFleet) -> None:
    fleet.instance.report_runless_asset_event(upload_event(KEY, "seen", None))
    _, _, cursor = tick(fleet, None)
    waiting = fleet.instance.create_run_for_job(
        defs.resolve_job_def("chain"), tags={"dagster/partition": KEY}, status=dg.DagsterRunStatus.STARTING
    )
    requests, told, _ = tick(fleet, cursor)
    assert requests == []
    assert "1 running" in told
    fleet.instance.delete_run(waiting.run_id)
    packed = fleet.instance.create_run_for_job(
        packed_job,
        run_config={"ops": {"make_partitions": {"config": {"partitions": [KEY]}}}},
        status=dg.DagsterRunStatus.STARTED,
    )
    assert tick(fleet, cursor)[0] == []
    fleet.instance.delete_run(packed.run_id)
    assert len(tick(fleet, cursor)[0]) == 1


def test_what_is_asked_for_in_vain_is_named(fleet: SmallFleet) -> None:
    fleet.instance.report_runless_asset_event(upload_event(KEY, "seen", None))
    cursor: str | None = None
    keys = []
    for _ in range(6):
        requests, told, cursor = tick(fleet, cursor)
        keys += [request.run_key for request in requests]
    assert len(keys) == len(set(keys)) == 3
    assert f"asked for in vain {KEY}: read their last runs" in told


def test_a_vehicle_that_dagster_has_forgotten_is_added_with_its_run(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    fleet.run(["video_manifest"], partition_key=KEY)
    fleet.instance.delete_dynamic_partition("vehicle", "veh-1")
    _, _, cursor = tick(fleet, None)
    result = module.reconciler(dg.build_sensor_context(instance=fleet.instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    (added,) = result.dynamic_partitions_requests or []
    assert list(added.partition_keys) == ["veh-1"]


def test_the_sensors_fingerprint_is_the_manifests(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    fleet.upload("veh-1/2026-01-05/rear/083000.mp4")
    fleet.run(["video_manifest"], partition_key=KEY)
    scan = manifest_scan(DAY, fleet.tables, open_source(fleet.settings).store)
    assert scan is not None
    fleet.instance.report_runless_asset_event(upload_event(KEY, scan.fingerprint, scan))
    (request,) = two_ticks(fleet)
    assert [key.to_user_string() for key in request.asset_selection or []] == list(CHAIN_ASSETS[1:])


def test_a_store_that_is_away_is_a_reason_to_skip(fleet: SmallFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("store", "is away")

    monkeypatch.setattr(module.Reconciler, "tick", away)
    result = module.reconciler(dg.build_sensor_context(instance=fleet.instance))
    assert isinstance(result, dg.SkipReason)

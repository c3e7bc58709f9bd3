"""Packed backfills: the same tables, events and checks as single runs leave, each partition alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from video_assets.definitions import defs
from video_assets.defs import packed
from video_assets.defs.backfill import plan_backfill
from video_assets.defs.checks import ROWS_UNIQUE
from video_assets.defs.jobs import CHAIN_ASSETS
from video_assets.defs.launch import DATA_VERSION_TAG, upload_event
from video_assets.defs.packed import BackfillFault, packed_job
from video_assets.keys import InvalidId, Partition
from video_assets.stages.items import StageStopped
from video_assets.tables import CLIPS, FRAMES
from video_assets_tests.defs.fleet_in_memory import SmallFleet, small_fleet

GOOD, BAD, EMPTY = "2026-01-05|veh-1", "2026-01-05|veh-2", "2026-01-06|veh-1"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SmallFleet]:
    with small_fleet(tmp_path, ["veh-1"]) as fleet:
        yield fleet


def run(fleet: SmallFleet, partitions: list[str], **config: Any) -> dg.ExecuteInProcessResult:
    job = dg.Definitions(jobs=[packed_job], resources=fleet.resources).resolve_job_def(packed_job.name)
    return job.execute_in_process(
        instance=fleet.instance,
        run_config={
            "ops": {"make_partitions": {"config": {"partitions": partitions, **config}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        raise_on_error=False,
    )


def materialized(fleet: SmallFleet, asset: str) -> set[str]:
    return fleet.instance.get_materialized_partitions(dg.AssetKey(asset))


def latest(fleet: SmallFleet, asset: str, partition: str) -> dg.AssetMaterialization:
    records = fleet.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition]), limit=1
    ).records
    event = records[0].asset_materialization
    assert event is not None
    return event


def test_a_packed_run_leaves_what_single_runs_leave(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    assert fleet.run(CHAIN_ASSETS, partition_key=GOOD).success
    single = {name: latest(fleet, name, GOOD) for name in CHAIN_ASSETS}
    before = fleet.objects()
    result = run(fleet, [GOOD, EMPTY])
    assert result.success
    assert {key: fleet.objects()[key] for key in before} == before, "work already published is never redone"
    for name in CHAIN_ASSETS:
        assert materialized(fleet, name) == {GOOD, EMPTY}
        event = latest(fleet, name, GOOD)
        assert event.metadata.keys() == single[name].metadata.keys()
        assert (event.tags or {})[DATA_VERSION_TAG] == (single[name].tags or {})[DATA_VERSION_TAG]
    checks = {(c.asset_key.path[-1], c.check_name, c.partition): c.passed for c in result.get_asset_check_evaluations()}
    # Those of an asset's own step; audits are steps of their own.
    made_of = [asset for asset in defs.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    expected = {key.to_user_string() for asset in made_of for key in asset.check_keys}
    assert {f"{asset}:{name}" for asset, name, _ in checks} == expected
    assert {partition for _, _, partition in checks} == {GOOD, EMPTY}
    assert all(checks.values())


def test_a_bad_partition_is_named_and_exactly_the_others_are_materialized(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    for key in (GOOD, BAD, EMPTY):
        assert run(fleet, [key], assets=["video_manifest"]).success
    fleet.damage("video_manifest", BAD)
    result = run(fleet, [GOOD, BAD, EMPTY], assets=["clips", "frames"])
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    told = str(failure.step_failure_data.error)
    assert "1 of 3 partitions failed" in told
    assert f"{BAD}: clips: " in told
    assert materialized(fleet, "clips") == materialized(fleet, "frames") == {GOOD, EMPTY}
    assert {p.key for p in fleet.tables.partitions(FRAMES)} == {GOOD, EMPTY}


def test_a_failed_blocking_check_keeps_what_is_downstream_of_its_partition(
    fleet: SmallFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    make = packed.MAKERS["clips"]

    def twice(making: Any) -> Any:
        made = make(making)
        doubled = [replace(check, passed=False) if check.check_name == ROWS_UNIQUE else check for check in made.checks]
        return made if making.partition.key != GOOD else replace(made, checks=doubled)

    def replace(thing: Any, **changes: Any) -> Any:
        return thing._replace(**changes) if hasattr(thing, "_replace") else dataclasses.replace(thing, **changes)

    monkeypatch.setattr(packed, "MAKERS", {**packed.MAKERS, "clips": twice})
    result = run(fleet, [GOOD, EMPTY], assets=["video_manifest", "clips", "frames"])
    assert not result.success
    assert materialized(fleet, "clips") == {GOOD, EMPTY}
    assert materialized(fleet, "frames") == {EMPTY}
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert f"{GOOD}: clips: check {ROWS_UNIQUE} failed" in str(failure.step_failure_data.error)


def test_a_store_that_is_away_stops_the_run_and_keeps_what_is_done(
    fleet: SmallFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = packed.MAKERS["clips"]
    calls: list[str] = []

    def away_once(making: Any) -> Any:
        calls.append(making.partition.key)
        if calls == [GOOD, BAD]:
            raise StageStopped("table clips", "the store is away")
        return make(making)

    monkeypatch.setattr(packed, "MAKERS", {**packed.MAKERS, "clips": away_once})
    monkeypatch.setattr(packed, "RETRY_WAIT_S", 0)
    result = run(fleet, [GOOD, BAD], assets=["video_manifest", "clips"])
    assert result.success, "by its retry"
    assert calls == [GOOD, BAD, GOOD, BAD]
    assert materialized(fleet, "clips") == {GOOD, BAD}


def test_a_killed_packed_run_goes_on_when_launched_again(fleet: SmallFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for vehicle in ("veh-1", "veh-2"):
        fleet.upload(f"{vehicle}/2026-01-05/front/083000.mp4")
    make = packed.MAKERS["frames"]

    def killed_at_the_second(making: Any) -> Any:
        if making.partition.key == BAD:
            raise KeyboardInterrupt
        return make(making)

    with monkeypatch.context() as patched:
        patched.setattr(packed, "MAKERS", {**packed.MAKERS, "frames": killed_at_the_second})
        assert not run(fleet, [GOOD, BAD]).success
    assert materialized(fleet, "frames") == {GOOD}
    before = fleet.objects()
    assert {p.key for p in fleet.tables.partitions(CLIPS)} == {GOOD, BAD}
    assert run(fleet, [GOOD, BAD]).success
    assert materialized(fleet, "vector_index") == {GOOD, BAD}
    assert {key: fleet.objects()[key] for key in before if "/blobs/" in key or "/items/" in key} == {
        key: value for key, value in before.items() if "/blobs/" in key or "/items/" in key
    }


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"partitions": ["2026-01-05|a/b"]}, "vehicle id 'a/b'"),
        ({"partitions": ["2026-01-05"]}, "names no vehicle"),
        ({"partitions": ["1999-01-05|veh-1"]}, "of a day that has no partitions"),
        ({"partitions": [GOOD], "assets": ["fleet_daily"]}, "fleet_daily: cannot be packed"),
        ({"partitions": [GOOD], "assets": []}, "assets: names none"),
        ({"partitions": [], "first_day": "yesterday"}, "is not a calendar date"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(
    fleet: SmallFleet, config: dict[str, Any], words: str
) -> None:
    result = run(fleet, **config)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert words in str(failure.step_failure_data.error)
    assert fleet.instance.get_dynamic_partitions("vehicle") == ["veh-1"]


def test_a_range_means_what_there_is_in_it(fleet: SmallFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.instance.add_dynamic_partitions("vehicle", ["veh-2", "veh-3"])
    for key in (GOOD, BAD, "2026-01-09|veh-1"):
        fleet.instance.report_runless_asset_event(upload_event(key, "seen", None))
    assert run(fleet, [EMPTY], assets=["video_manifest"]).success
    monkeypatch.setattr("video_assets.defs.backfill.deployment", lambda: (None, fleet.tables))

    def plan(selection: str, first: str = "", last: str = "", only: tuple[str, ...] = ()) -> Any:
        return plan_backfill(defs, fleet.instance, selection, first=first, last=last, only=only)

    everything = plan("all")
    assert [p.key for p in everything.partitions] == [GOOD, BAD, EMPTY, "2026-01-09|veh-1"]
    assert everything.assets == CHAIN_ASSETS
    assert everything.left_out == ("fleet_daily", "unmatched")
    assert [len(pack) for pack in everything.packs(3)] == [3, 1]
    assert [p.key for p in plan("frames+", "2026-01-05", "2026-01-06", ("veh-1",)).partitions] == [GOOD, EMPTY]
    assert plan("frames+").assets == ("frames", "embeddings", "vector_index")
    assert plan("clips or frames").assets == ("clips", "frames")
    for wrong in ("nothing", "(", "fleet_daily"):
        with pytest.raises(BackfillFault):
            plan(wrong)
    for wrong in ("|", "../x"):
        with pytest.raises(InvalidId):
            plan("all", only=(wrong,))
    with pytest.raises(BackfillFault, match=r"there is no asset framez\. Choose of video_manifest, clips, frames"):
        plan("clips or framez")
    with pytest.raises(BackfillFault, match=r"range 2026-02-01 to 2026-01-31: holds no day .*Correct --from and --to"):
        plan("all", "2026-02-01", "2026-01-31")
    result = run(fleet, [], first_day="2026-01-09", assets=["video_manifest"])
    assert result.success
    assert materialized(fleet, "video_manifest") == {EMPTY, "2026-01-09|veh-1"}
    assert Partition.from_key("2026-01-09|veh-1")

"""`fleet_windows` run by Dagster: what the UI is told, and how a run ends that may not ask."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from video_assets.defs.assets.fleet_windows import fleet_windows
from video_assets.io_managers.table_io_manager import TableIOManager
from video_assets.tables import FLEET_WINDOWS
from video_assets_tests.servers.fleet_api import FleetApi, serve_fleet_api
from video_assets_tests.stages.fleet_day import FleetDay


@pytest.fixture
def day(tmp_path: Path) -> Iterator[FleetDay]:
    with serve_fleet_api(FleetApi(way="direct")) as api:
        day = FleetDay(tmp_path, api)
        for camera in day.cameras:
            day.has(camera, 8, 9, data=b"a bag")
        yield day


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run(
    day: FleetDay, key: str = "", config: dict[str, bool] | None = None, **changes: Any
) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("vehicle", ["veh-1", "veh-9"])
        return dg.materialize(
            [fleet_windows],
            instance=instance,
            partition_key=key or day.partition.key,
            resources={
                "settings": day.settings(**changes),
                "tables": day.tables,
                "io_manager": TableIOManager(day.tables),
            },
            run_config={**QUIET, "ops": {"fleet_windows": {"config": config or {}}}},
            raise_on_error=False,
        )


def failure(result: dg.ExecuteInProcessResult) -> Any:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert not [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    return event.step_failure_data


def test_the_ui_is_told_the_numbers_and_shown_the_day(day: FleetDay) -> None:
    result = run(day)
    assert result.success
    (event,) = result.asset_materializations_for_node(FLEET_WINDOWS.name)
    numbers = {name: value.value for name, value in event.metadata.items()}
    told = ("windows", "available", "saved", "missing", "unknown", "asked", "bytes", "failed", "filtered")
    assert [numbers[name] for name in told] == [48, 4, 4, 44, 0, 48, 20, 0, 0]
    shown = str(numbers["availability"])
    image = base64.b64decode(shown.partition("base64,")[2].removesuffix(")"))
    assert image.startswith(b"\x89PNG")
    assert len(shown) < 50_000


def test_a_refused_token_fails_the_run_without_another_try_and_keeps_what_is_done(day: FleetDay) -> None:
    day.api.faults["/v1/video"] = [0] * 20 + [401] * 99
    failed = failure(run(day))
    assert "is not taken by the service (status 401). Renew it and run again: what is done" in str(failed.error)
    assert failed.user_failure_data is not None
    states = [row["state"] for row in day.rows()]
    assert states.count("unknown") == 28, "what was found out before is committed"
    day.api.faults, day.api.asked = {}, []
    assert run(day).success
    assert len(day.api.windows_asked()) == 28


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (f"{datetime.now(UTC):%Y-%m-%d}|veh-1", "is not over at 00:00 UTC of today"),
        ("2026-01-05|veh-1", "lies further back than 5 days"),
        ("2026-01-05|veh-9", "VIDEO_ASSETS_FLEET_VEHICLES: does not name veh-9"),
    ],
)
def test_what_cannot_be_asked_for_is_a_failure_in_words(day: FleetDay, key: str, says: str) -> None:
    assert says in str(failure(run(day, key)).error)
    assert not day.api.asked


def test_a_scan_fetches_nothing_and_a_sparse_one_says_what_it_left(day: FleetDay) -> None:
    result = run(day, config={"download": False, "sparse": True}, fleet_step_s=120)
    (event,) = result.asset_materializations_for_node(FLEET_WINDOWS.name)
    numbers = {name: value.value for name, value in event.metadata.items()}
    # The windows of 9:00 lie behind a hole: they are unknown, not missing.
    assert (numbers["windows"], numbers["available"], numbers["saved"]) == (1440, 2, 0)
    assert numbers["unknown"] == numbers["windows"] - numbers["asked"] > 900
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    answered = checks["windows_answered"]
    assert (answered.passed, answered.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"{numbers['unknown']} of 1440 windows not asked for, 0 failed" in str(answered.description)
    assert checks["rows_unique"].passed
    assert not [asked for asked in day.api.asked if asked.path != "/v1/video"]

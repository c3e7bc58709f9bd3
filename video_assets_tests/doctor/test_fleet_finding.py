"""What `doctor` says of a fleet's batch API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from video_assets.doctor.examine import examine
from video_assets.doctor.finding import Finding
from video_assets.doctor.fleet import fleet_finding
from video_assets_tests.servers.fleet_api import FleetApi, serve_fleet_api
from video_assets_tests.stages.fleet_day import FleetDay


@pytest.fixture
def day(tmp_path: Path) -> Iterator[FleetDay]:
    with serve_fleet_api(FleetApi()) as api:
        yield FleetDay(tmp_path, api)


def test_one_request_tells_that_it_answers(day: FleetDay) -> None:
    found = fleet_finding(day.settings())
    assert found is not None
    assert found.verdict == "ok"
    assert "answers and takes the token; 2 vehicles, 2 cameras; veh-1 front" in found.text
    assert len(day.api.asked) == 1
    assert fleet_finding(day.settings(fleet_vehicles="", fleet_cameras="")) is None


def test_a_token_that_is_not_taken_is_said_to_be_and_no_source_is_missed(day: FleetDay) -> None:
    day.api.token = "another"
    (day.root / "store").mkdir()
    found: dict[str, Finding] = {}
    for finding in examine(day.settings(embed_models=("mobilenet_v2",))):
        found[finding.component] = finding
        if finding.component == "tables":
            break
    assert found["fleet"].verdict == "failed"
    assert "VIDEO_ASSETS_FLEET_TOKEN: is not taken by the service (status 401)" in found["fleet"].text
    assert "source" not in found

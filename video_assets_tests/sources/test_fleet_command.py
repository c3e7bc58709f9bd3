"""`video-assets fleet`: what it asks for, what it says, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from video_assets.cli import app
from video_assets.sources.fleet.windows import day_windows, newest_day
from video_assets_tests.servers.fleet_api import TOKEN, FleetApi, serve_fleet_api

UTC_ZONE = ZoneInfo("UTC")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FleetApi]:
    start = day_windows(newest_day(UTC_ZONE, datetime.now(UTC)), UTC_ZONE)[0].start_s
    bags = {("veh-1", "front", start + 30 * number): b"#ROSBAG V2.0\n" + b"x" * 999 for number in range(3)}
    with serve_fleet_api(FleetApi(bags=bags)) as served:
        monkeypatch.chdir(tmp_path)
        for name, value in {"URL": served.url, "TOKEN": TOKEN, "INTERVAL_S": "0", "MIN_VALID_BYTES": "1"}.items():
            monkeypatch.setenv(f"VIDEO_ASSETS_FLEET_{name}", value)
        yield served


def call(command: str, *options: str) -> Result:
    where = ["out", "--vehicle", "veh-1", "--camera", "front", "--hours", "00:00-00:03"]
    return CliRunner().invoke(app, ["fleet", command, *where, *options])


def test_a_scan_then_a_fetch(api: FleetApi, tmp_path: Path) -> None:
    day = newest_day(UTC_ZONE, datetime.now(UTC))
    scanned = call("availability")
    assert scanned.exit_code == 0, scanned.output
    assert f"{day}: 3 available, 3 missing" in scanned.stdout
    done = call("fetch", "--json")
    assert json.loads(done.stdout)["windows"] == {"earlier": 3, "saved": 3}
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.bag"))
    assert names == [f"veh-1/{day}/front/{time}.bag" for time in ("000000", "000030", "000100")]


def test_a_refused_token_ends_with_1_and_says_so(api: FleetApi) -> None:
    api.token = "another"
    done = call("fetch")
    assert done.exit_code == 1
    assert "is not taken by the service (status 401). Renew it and run again" in done.stderr
    assert TOKEN not in done.output


def test_without_an_address_or_token_it_says_what_to_set(api: FleetApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDEO_ASSETS_FLEET_TOKEN")
    assert "VIDEO_ASSETS_FLEET_TOKEN: is not set" in call("fetch").stderr
    monkeypatch.delenv("VIDEO_ASSETS_FLEET_URL")
    assert "VIDEO_ASSETS_FLEET_URL: is not set" in call("fetch").stderr


def test_today_is_refused(api: FleetApi) -> None:
    done = call("fetch", "--date", f"{datetime.now(UTC):%Y-%m-%d}")
    assert done.exit_code == 1
    assert "is not over at 00:00 UTC of today" in done.stderr
    assert not api.asked

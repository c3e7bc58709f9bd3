"""Windows of a day: which there are, in which order they are asked for, and what a rerun asks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from datetime import date as Date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from video_assets.path_template import PathTemplate
from video_assets.sources.fleet.client import FleetClient
from video_assets.sources.fleet.fetch import FleetFetch
from video_assets.sources.fleet.states import Camera, FolderWindows
from video_assets.sources.fleet.token import FleetToken
from video_assets.sources.fleet.windows import (
    InvalidWindows,
    Visits,
    Window,
    check_day,
    day_windows,
    newest_day,
    sample,
    within_hours,
)
from video_assets_tests.servers.fleet_api import TOKEN, FleetApi, serve_fleet_api

DAY = Date(2026, 3, 27)
BERLIN, SHANGHAI, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Shanghai"), ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (Date(2026, 3, 29), BERLIN, 23),
        (Date(2026, 10, 25), BERLIN, 25),
        (Date(2026, 3, 28), BERLIN, 24),
        (DAY, SHANGHAI, 24),
    ],
)
def test_a_day_has_as_many_windows_as_its_clocks_say(day: Date, zone: ZoneInfo, hours: int) -> None:
    windows = day_windows(day, zone)
    assert len(windows) == hours * 120
    assert windows[0].start.astimezone(zone).strftime("%F %T") == f"{day} 00:00:00"
    assert all(a.end_s == b.start_s for a, b in pairwise(windows))


def test_hours_are_the_zones_own() -> None:
    windows = within_hours(day_windows(DAY, SHANGHAI), "08:30-09:00", SHANGHAI)
    assert [windows[0].start.isoformat(), len(windows)] == ["2026-03-27T00:30:00+00:00", 60]
    twice = within_hours(day_windows(Date(2026, 10, 25), BERLIN), "02:00-03:00", BERLIN)
    assert len(twice) == 240
    assert not within_hours(day_windows(Date(2026, 3, 29), BERLIN), "02:00-03:00", BERLIN)


@pytest.mark.parametrize("hours", ["9-10", "10:00-09:00", "25:00-26:00", "08:00-24:30", ""])
def test_hours_that_are_none_are_refused(hours: str) -> None:
    with pytest.raises(InvalidWindows):
        within_hours([], hours, UTC_ZONE)


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    windows = day_windows(DAY, UTC_ZONE)
    assert sample(windows, 10, 7) == sample(windows, 10, 7) != sample(windows, 10, 8)
    assert sample(windows, 10**6, 7) == windows


@pytest.mark.parametrize(
    ("zone", "newest"), [(UTC_ZONE, Date(2026, 3, 27)), (SHANGHAI, Date(2026, 3, 27)), (BERLIN, Date(2026, 3, 27))]
)
def test_only_days_that_are_over_and_kept_can_be_asked_for(zone: ZoneInfo, newest: Date) -> None:
    now = datetime(2026, 3, 28, 15, tzinfo=UTC)
    assert newest_day(zone, now) == newest
    check_day(newest, zone, now)
    with pytest.raises(InvalidWindows, match="is not over at 00:00 UTC of today"):
        check_day(Date(2026, 3, 28), zone, now)
    with pytest.raises(InvalidWindows, match=f"further back than 5 days. The newest that can be asked for is {newest}"):
        check_day(Date(2026, 3, 20), zone, now)


def test_windows_behind_a_hole_are_asked_last_and_all_of_them() -> None:
    windows = [Window(start, start + 30) for start in range(0, 900, 30)]
    asked = []
    visits = Visits(windows, lambda window: asked.append(window) or not 60 <= window.start_s < 120)  # type: ignore[func-returns-value]
    found = dict(visits)
    assert sorted(asked) == windows
    assert len(set(asked)) == len(asked)
    assert [window.start_s for window in asked[:5]] == [0, 30, 60, 360, 390]
    assert [window.start_s for window, there in found.items() if not there] == [60, 90]


class Service:
    """A day of one camera with holes."""

    def __init__(self, api: FleetApi, root: Path) -> None:
        self.api, self.root = api, root

    def fetch(self, windows: list[Window], **options: Any) -> dict[str, int]:
        client = FleetClient(
            self.api.url, FleetToken(SecretStr(TOKEN)), interval_s=0, min_valid_bytes=1, sleep=lambda seconds: None
        )
        template = PathTemplate("{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}", (".bag",), UTC_ZONE, UTC_ZONE)
        place = partial(FolderWindows, self.root, template)
        result = FleetFetch(client, place, **options).run([(Camera("veh-1", "front", DAY), windows)])
        assert not result.errors
        return dict(result.counts)

    def bags(self) -> int:
        return len(list(self.root.rglob("*.bag")))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serve_fleet_api(FleetApi(way="direct")) as api:
        yield Service(api, tmp_path)


def with_holes(count: int, share: float, seed: int) -> tuple[list[Window], set[int]]:
    """Windows of a day, and the starts of those that have footage: holes come in runs."""
    windows, dice = day_windows(DAY, UTC_ZONE)[:count], random.Random(seed)
    there = {window.start_s for window in windows}
    while len(there) > count * (1 - share):
        at = dice.randrange(count)
        there -= {window.start_s for window in windows[at : at + dice.randint(1, 40)]}
    return windows, there


@pytest.mark.parametrize("count", [300, pytest.param(2880, marks=pytest.mark.slow)])
def test_every_window_with_footage_is_found_and_none_is_asked_twice(
    service: Service, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    windows, there = with_holes(count, 0.3, 1)
    service.api.bags = {("veh-1", "front", start): b"#ROSBAG V2.0\n" + b"x" * 9_000 for start in there}
    counts = service.fetch(windows)
    assert counts == {"saved": len(there), "missing": count - len(there)}
    assert service.bags() == len(there)
    asked = service.api.windows_asked()
    assert len(asked) == len(set(asked)) == count
    service.api.asked.clear()
    assert service.fetch(windows) == {"earlier": count}
    assert not service.api.asked
    assert service.fetch(windows, recheck_s=0.0) == {"earlier": len(there), "missing": count - len(there)}


@pytest.mark.parametrize("count", [300, pytest.param(2880, marks=pytest.mark.slow)])
def test_sparse_leaves_what_is_behind_holes_and_says_how_much(
    service: Service, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    windows, there = with_holes(count, 0.3, 2)
    service.api.bags = {("veh-1", "front", start): b"#ROSBAG V2.0\n" + b"x" * 9_000 for start in there}
    counts = service.fetch(windows, sparse=True)
    assert counts["left"] > 0
    assert sum(counts.values()) == count
    with capsys.disabled():
        print(f"\nsparse: {counts['saved'] / len(there):.0%} found, {counts['left'] / count:.0%} of the requests saved")
    assert service.fetch(windows)["saved"] == len(there) - counts["saved"], "they were unknown, not missing"


def test_a_scan_finds_out_and_a_fetch_after_it_asks_for_no_hole(service: Service) -> None:
    windows, there = with_holes(60, 0.3, 3)
    service.api.bags = {("veh-1", "front", start): b"#ROSBAG V2.0\n" + b"x" * 9_000 for start in there}
    assert service.fetch(windows, download=False) == {"available": len(there), "missing": 60 - len(there)}
    assert service.bags() == 0
    assert service.fetch(windows, download=False) == {"earlier": 60}
    assert service.fetch(windows) == {"saved": len(there), "earlier": 60 - len(there)}


def test_files_of_a_vehicle_are_capped_and_the_rest_is_left(service: Service) -> None:
    windows, there = with_holes(40, 0.0, 3)
    service.api.bags = {("veh-1", "front", start): b"#ROSBAG V2.0\n" + b"x" * 9_000 for start in there}
    assert service.fetch(windows, most_files=5) == {"saved": 5, "left": 35}
    assert service.fetch(windows, most_files=5) == {"earlier": 5, "left": 35}


def test_a_refused_token_stops_and_a_rerun_goes_on(service: Service) -> None:
    windows, there = with_holes(20, 0.0, 3)
    service.api.bags = {("veh-1", "front", start): b"#ROSBAG V2.0\n" + b"x" * 9_000 for start in there}
    service.fetch(windows[:7])
    service.api.token = "another"
    assert service.fetch(windows) == {"earlier": 7, "left": 13}
    service.api.token = TOKEN
    assert service.fetch(windows) == {"earlier": 7, "saved": 13}

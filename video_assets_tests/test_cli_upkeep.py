"""The commands that keep a home in order: what they print, for people and for scripts, and how they end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from video_assets.cli import app
from video_assets.tables import CLIPS, VIDEO_MANIFEST
from video_assets_tests.stages.uploads import DAY, Uploads
from video_assets_tests.video.make_video import make_video

BLOB = f"clips/{DAY.path}/blobs/{'0' * 32}.mp4"


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Uploads:
    """A day whose clips were made, of two videos, one of them damaged."""
    uploads = Uploads(tmp_path)
    for place in ("source", "store", "index"):
        folder = "uploads" if place == "source" else place
        monkeypatch.setenv(f"VIDEO_ASSETS_{place.upper()}", str(tmp_path / folder))
    uploads.put("front", make_video(tmp_path / "v.mp4", frames=10).read_bytes(), ".mp4")
    uploads.put("rear", b"no video", ".mp4")
    uploads.manifest()
    uploads.clips()
    return uploads


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_gc_tells_what_it_takes_and_takes_it(uploads: Uploads, tmp_path: Path) -> None:
    assert call("gc").stdout == "0 objects of 0 bytes taken\n"
    uploads.tables.store.put(BLOB, b"12345")
    aged = tmp_path / "store" / BLOB
    told = call("gc")
    assert told.stdout.splitlines()[-1] == "0 objects of 0 bytes taken"
    assert " kept  young " in told.stdout
    os.utime(aged, (aged.stat().st_mtime - 73 * 3600,) * 2)
    assert call("gc", "--dry-run").stdout.splitlines()[-1] == "1 object of 5 bytes would be taken"
    assert call("gc", "--grace", "74", "--json").exit_code == 0
    assert aged.exists()
    assert json.loads(call("gc", "--json").stdout) == [
        {"table": "clips", "kind": "blob", "taken": True, "reason": "replaced", "objects": 1, "size_bytes": 5}
    ]
    assert not aged.exists()
    assert call("gc", "--grace", "0").exit_code == 2


def test_retry_names_the_items_and_how_to_run_them(uploads: Uploads) -> None:
    dry = call("retry", "--dry-run")
    assert dry.stdout.splitlines()[-1] == "1 failed item would be set back."
    told = call("retry", "--vehicle", str(DAY.vehicle), "--date", DAY.date, "--stage", "clips").stdout.splitlines()
    assert told[0].startswith(f"set back clips {DAY.key}: file://")
    assert told[1:3] == ["1 failed item set back.", "The next run of 1 partition tries them. In the UI, or:"]
    assert told[3] == (f"video-assets backfill all --pack 1 --from {DAY.date} --to {DAY.date} --vehicle {DAY.vehicle}")
    (item,) = json.loads(call("retry", "--json").stdout)
    assert (item["verdict"], item["attempts"], item["error_stage"]) == ("due", 1, "probe")
    assert uploads.clips().made == 1
    assert call("retry", "--vehicle", "nobody").stdout == "0 failed items set back.\n"
    for wrong in (["--date", "yesterday"], ["--vehicle", "a/b"], ["--stage", "video_manifest"]):
        assert call("retry", *wrong).exit_code == 2


def test_remove_deleted_is_refused_until_it_is_forced(uploads: Uploads, tmp_path: Path) -> None:
    (tmp_path / f"uploads/{DAY.vehicle}/{DAY.date}/rear/083000.mp4").unlink()
    refused = call("remove-deleted", DAY.key)
    assert refused.exit_code == 1
    assert "Refused: 1 of 2 videos are gone from the source, more than 20%" in refused.stderr
    assert len(uploads.tables.read(VIDEO_MANIFEST, DAY)) == 2
    told = call("remove-deleted", DAY.key, "--force")
    assert told.exit_code == 0, told.output
    assert "1 video removed from the manifest" in told.stdout
    assert len(uploads.tables.read(VIDEO_MANIFEST, DAY)) == 1
    uploads.clips()
    assert uploads.tables.read(CLIPS, DAY)["camera"].to_pylist() == ["front"]
    again = json.loads(call("remove-deleted", DAY.key, "--json").stdout)
    assert again == {"removed": [], "kept": 0, "refusal": None}
    for wrong in ("veh-7", "2026-01-05", "2026-01-05|../x"):
        assert call("remove-deleted", wrong).exit_code == 2


@pytest.mark.parametrize("command", [("gc",), ("retry",), ("remove-deleted", DAY.key), ("download", "out")])
def test_before_anything_is_made_what_makes_it_is_told(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", str(tmp_path / "uploads"))
    monkeypatch.setenv("VIDEO_ASSETS_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    result = call(*command)
    assert result.exit_code == 1
    assert f"VIDEO_ASSETS_STORE: {tmp_path.as_uri()}/store is not there: nothing was made yet" in result.stderr
    assert "Run `video-assets up`, mount the disk" in result.stderr
    assert list(tmp_path.iterdir()) == []

"""`video-assets download`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from video_assets.cli import app


@pytest.fixture(autouse=True)
def _source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("source", "store", "index"):
        monkeypatch.setenv(f"VIDEO_ASSETS_{name.upper()}", str(tmp_path / name))
    video = tmp_path / "source/veh-1/2026-01-03/front/083000.mp4"
    video.parent.mkdir(parents=True)
    video.write_bytes(b"video")


def test_it_writes_and_says_where(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["download", str(tmp_path / "out"), "--prefix", "veh-1/"])
    assert done.exit_code == 0, done.output
    assert f"1 file in {tmp_path / 'out'}" in done.stdout
    again = CliRunner().invoke(app, ["download", str(tmp_path / "out"), "--prefix", "veh-1/", "--json"])
    assert again.exit_code == 1
    assert "Use overwrite, or skip what exists" in json.loads(again.stdout)["error"]["remedy"]
    gone_on = ["download", str(tmp_path / "out"), "--prefix", "veh-1/", "--json", "--skip-existing"]
    assert json.loads(CliRunner().invoke(app, gone_on).stdout) == [
        str(tmp_path / "out/veh-1_20260103T083000Z/front/083000.mp4")
    ]


def test_overwriting_and_skipping_contradict_each_other() -> None:
    assert CliRunner().invoke(app, ["download", "out", "--overwrite", "--skip-existing"]).exit_code == 2

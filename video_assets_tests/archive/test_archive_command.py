"""`video-assets archive`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from video_assets.cli import app
from video_assets_tests.archive.test_archive import DAY, footage
from video_assets_tests.downloads.small_fleet import Fleet


@pytest.fixture(autouse=True)
def _fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(tmp_path, footage([300, 400]))
    for name in ("source", "store", "index"):
        monkeypatch.setenv(f"VIDEO_ASSETS_{name.upper()}", getattr(fleet.settings, name))


def test_it_tells_first_and_then_does(tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = CliRunner().invoke(app, ["archive", str(out), "--dry-run"])
    assert asked.exit_code == 0, asked.output
    assert asked.stdout.splitlines() == [
        f"  {DAY}/001  2 files, 700 B",
        f"2 files would be copied, 700 B: {out}",
    ]
    assert not out.exists()
    done = CliRunner().invoke(app, ["archive", str(out), "--json"])
    assert json.loads(done.stdout) == {
        "copied": 2,
        "copied_bytes": 700,
        "here": 0,
        "moved": 0,
        "folders": {f"{DAY}/001": {"files": 2, "bytes": 700}},
        "dry_run": False,
    }
    again = CliRunner().invoke(app, ["archive", str(out), "--camera", "front"])
    assert again.stdout == f"0 files copied, 0 B, 1 there already: {out}\n"


def test_its_errors_are_words(tmp_path: Path) -> None:
    none = CliRunner().invoke(app, ["archive", str(tmp_path / "out"), "--vehicle", "veh-9"])
    assert none.exit_code == 1
    assert "selection of raw, vehicle veh-9: has no file" in none.stderr
    assert CliRunner().invoke(app, ["archive", "out", "--folder-gib", "0"]).exit_code == 2
    assert CliRunner().invoke(app, ["archive", "out", "--folder-gib", "nan"]).exit_code == 2

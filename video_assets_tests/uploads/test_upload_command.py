"""`video-assets upload …` as people and scripts meet it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from video_assets.cli import app
from video_assets.storage.registry import open_store
from video_assets_tests.uploads.conftest import Depot
from video_assets_tests.uploads.watching import PART_BYTES, box, command, movie, until, watching

NAME = "front/080000.mp4"


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["upload", *arguments])


def test_sigterm_ends_the_watcher_and_leaves_what_was_sent(depot: Depot, folder: Path) -> None:
    (folder / "front").mkdir()
    (folder / NAME).write_bytes(movie(6 * PART_BYTES))
    depot.proxy.bytes_s = 200_000
    with command(folder, depot.uri, "--connections", "1") as process:
        until(lambda: any(len(upload.parts) >= 2 for upload in depot.bucket.uploads.values()))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 0
    assert re.search(r"INFO watching .*videos for oss://", said)
    assert "Traceback" not in said
    (upload,) = depot.bucket.uploads.values()
    assert len(upload.parts) >= 2


def test_status_tells_how_far_each_file_is(folder: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    long_ago = 1_700_000_000
    for name, data in (
        ("done.mp4", movie(500)),
        ("half.mp4", movie(2_500)),
        ("open.mp4", box(b"mdat", bytes(9))),
        ("held.mp4", movie(500)),
    ):
        (folder / name).write_bytes(data)
        os.utime(folder / name, (long_ago, long_ago))
    (folder / "held.mp4.part").write_bytes(b"")
    begun = store.uploads.begin("half.mp4", part_bytes=1_000)
    begun.send(1, (folder / "half.mp4").read_bytes()[:1_000])
    (folder / "new.mp4").write_bytes(movie(500))
    only = tmp_path / "only"
    only.mkdir()
    (folder / "done.mp4").rename(only / "done.mp4")
    with watching(only, store.uri):
        until(lambda: "done.mp4.json" in [info.key for info in store.list()])
    (only / "done.mp4").rename(folder / "done.mp4")
    before = [info.key for info in store.list()]
    told = call("status", str(folder), "--to", "store", "--json")
    assert told.exit_code == 0, told.output
    found = {status["name"]: (status["state"], status["sent_bytes"]) for status in json.loads(told.stdout)}
    assert found == {
        "done.mp4": ("uploaded", 500),
        "half.mp4": ("under way", 1_000),
        "open.mp4": ("incomplete", 0),
        "held.mp4": ("held", 0),
        "new.mp4": ("growing", 0),
    }
    assert [info.key for info in store.list()] == before
    assert len(list(store.uploads.pending())) == 1
    shown = call("status", str(folder), "--to", "store")
    assert re.search(r"half\.mp4 +under way +0\.00 of 0\.00 MB +file://", shown.stdout)
    (tmp_path / "none").mkdir()
    assert "no video files in" in call("status", "none", "--to", "store").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "videos", "--to", "nowhere"], "nowhere: cannot be used: No such file or directory"),
        (["status", "nowhere", "--to", "store"], "nowhere: cannot be read: No such file or directory"),
        (["watch", "videos", "--to", "videos/up"], "lies in the watched folder"),
        (["watch", "videos", "--to", "ftp://x"], "unknown scheme 'ftp'"),
        (["watch", "videos", "--to", "s3://bucket", "--part-bytes", "1000"], "from 5242880 to 5368709120 bytes"),
        (["watch", "videos", "--to", "store", "--layout", "chunks", "--part-bytes", "99999999"], "to 16777216 bytes"),
        (["watch", "videos", "--to", "store", "--checkpoint", "mysql://x"], "unknown scheme 'mysql'"),
        (["watch", "videos", "--to", "store", "--checkpoint", "sqlite://x.db"], "is no absolute path"),
        (["watch", "videos", "--to", "store", "--checkpoint", "redis://:s3cret@h:port"], "is no address of Redis"),
    ],
)
def test_what_is_asked_for_wrongly_is_said(folder: Path, arguments: list[str], says: str) -> None:
    told = call(*arguments)
    assert told.exit_code == 1
    assert says in told.output
    assert "s3cret" not in told.output
    assert "Traceback" not in told.output


def test_the_checkpoint_is_a_setting_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_UPLOAD_CHECKPOINT", "mysql://user:s3cret@host")
    told = call("status", "videos", "--to", "store")
    assert "the checkpoint: has the unknown scheme 'mysql'" in told.output
    assert "s3cret" not in told.output


def test_bug_a_watcher_that_could_not_start_left_its_handling_of_signals(folder: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert call("watch", str(folder), "--to", "ftp://bucket").exit_code != 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before

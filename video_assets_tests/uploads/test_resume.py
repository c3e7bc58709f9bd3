"""Killed, cut off, or with another file in its place: an upload ends bit for bit right, and little is sent twice."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, cast

import pytest

from video_assets_tests.servers.oss_server_errors import OssError
from video_assets_tests.uploads.conftest import Depot
from video_assets_tests.uploads.watching import PART_BYTES, command, kill, movie, until, watching

NAME = "front/080000.mp4"
SIZE = 10 * PART_BYTES + 12_345
CONNECTIONS = 2
OVERHEAD = 64 * 1024
"""Headers of requests, and what is asked beside the parts."""

POINTS = {
    "at the start": {"hold_at": b"partNumber=1"},
    "in the middle of a part": {"hold_after": 5 * PART_BYTES + 50_000},
    "between parts": {"hold_at": b"partNumber=6"},
    "at the end": {"hold_at": b"<CompleteMultipartUpload"},
    "before the record": {"hold_at": b"PUT /fleet/up/front/080000.mp4.json"},
}


def slow(value: object) -> Any:
    """A parameter of the runs with `-m slow`."""
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture
def video(folder: Path) -> Path:
    path = folder / NAME
    path.parent.mkdir()
    path.write_bytes(movie(SIZE))
    return path


def killed_at(depot: Depot, folder: Path, point: str, *options: str) -> int:
    """Kills a watcher at that point; returns the bytes that were sent until then."""
    for name, value in POINTS[point].items():
        setattr(depot.proxy, name, value)
    with command(folder, depot.uri, "--connections", str(CONNECTIONS), *options) as process:
        assert depot.proxy.held.wait(60), "the point did not come"
        kill(process)
    depot.proxy.release()
    return depot.proxy.bytes_up


def record(depot: Depot, key: str = NAME) -> dict[str, Any] | None:
    try:
        said = depot.bucket.get(f"up/{key}.json").data
    except OssError:
        return None
    return cast("dict[str, Any]", json.loads(said))


def is_done(depot: Depot, video: Path) -> bool:
    said = record(depot)
    return said is not None and (said["size"], said["mtime_ns"]) == (video.stat().st_size, video.stat().st_mtime_ns)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_watcher_is_gone_on_with(depot: Depot, folder: Path, video: Path, point: str) -> None:
    killed_at(depot, folder, point)
    assert record(depot) is None
    with watching(folder, depot.uri, connections=CONNECTIONS):
        until(lambda: is_done(depot, video))
    assert depot.store.get(NAME) == video.read_bytes()
    assert depot.proxy.bytes_up <= SIZE + CONNECTIONS * PART_BYTES + OVERHEAD
    assert depot.pending() == []


def test_a_part_that_the_server_lost_is_sent_again(depot: Depot, folder: Path, video: Path) -> None:
    killed_at(depot, folder, "in the middle of a part")
    (upload,) = depot.bucket.uploads.values()
    del upload.parts[min(upload.parts)]
    with watching(folder, depot.uri, connections=CONNECTIONS):
        until(lambda: is_done(depot, video))
    assert depot.store.get(NAME) == video.read_bytes()
    assert depot.proxy.bytes_up <= SIZE + (CONNECTIONS + 1) * PART_BYTES + OVERHEAD


def test_an_upload_that_the_server_lost_is_begun_again(depot: Depot, folder: Path, video: Path) -> None:
    sent = killed_at(depot, folder, "in the middle of a part")
    depot.bucket.uploads.clear()
    with watching(folder, depot.uri, connections=CONNECTIONS):
        until(lambda: is_done(depot, video))
    assert depot.store.get(NAME) == video.read_bytes()
    assert depot.proxy.bytes_up <= sent + SIZE + CONNECTIONS * PART_BYTES + OVERHEAD


@pytest.mark.parametrize("change", ["longer", "shorter", "other bytes", "other bytes, same time", "replaced"])
@pytest.mark.parametrize("checkpoint", ["store", slow("sqlite")])
def test_a_file_that_changed_meanwhile_is_sent_from_its_beginning(
    depot: Depot, folder: Path, video: Path, tmp_path: Path, change: str, checkpoint: str
) -> None:
    uri = f"sqlite://{tmp_path / 'checkpoint.db'}" if checkpoint == "sqlite" else None
    with watching(folder, depot.uri, uri, connections=1) as watcher:
        depot.proxy.bytes_s = 2_000_000
        until(lambda: watcher.tools.tally.parts_sent >= 2)
    depot.proxy.bytes_s = None
    depot.proxy.cut()
    assert depot.pending() == [f"up/{NAME}"]
    before = video.stat()
    new = {"longer": movie(SIZE + 5_000, 1), "shorter": movie(3 * PART_BYTES, 1)}.get(change, movie(SIZE, 1))
    if change == "replaced":
        other = folder / ".new"
        other.write_bytes(new)
        other.replace(video)
    else:
        video.write_bytes(new)
    if change == "other bytes, same time":
        os.utime(video, ns=(before.st_mtime_ns, before.st_mtime_ns))
    with watching(folder, depot.uri, uri, connections=CONNECTIONS):
        until(lambda: is_done(depot, video))
    assert depot.store.get(NAME) == new
    assert depot.pending() == []


def test_a_file_that_changes_while_it_is_sent_is_sent_from_its_beginning(
    depot: Depot, folder: Path, video: Path
) -> None:
    depot.proxy.bytes_s = 1_000_000
    with watching(folder, depot.uri, connections=CONNECTIONS) as watcher:
        until(lambda: watcher.tools.tally.parts_sent >= 2)
        video.write_bytes(movie(SIZE, 2))
        until(lambda: is_done(depot, video))
    assert depot.store.get(NAME) == movie(SIZE, 2)
    assert depot.pending() == []


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("down_s", [3.0, slow(20.0)])
def test_a_store_that_goes_away_in_the_middle_is_waited_for_and_said_once(
    depot: Depot, folder: Path, video: Path, caplog: pytest.LogCaptureFixture, down_s: float
) -> None:
    caplog.set_level(logging.INFO, "video_assets")
    depot.proxy.bytes_s = 1_000_000
    with watching(folder, depot.uri, connections=CONNECTIONS) as watcher:
        until(lambda: watcher.tools.tally.parts_sent >= 2)
        depot.proxy.go_down()
        until(lambda: watcher.tools.patience.away == ["store"])
        watcher.tools.stop.wait(down_s)
        depot.proxy.is_down, depot.proxy.bytes_s = False, None
        until(lambda: is_done(depot, video))
    assert depot.store.get(NAME) == video.read_bytes()
    assert depot.proxy.bytes_up <= SIZE + CONNECTIONS * PART_BYTES + OVERHEAD
    said = [r.getMessage() for r in caplog.records]
    assert sum("the store is away" in text for text in said) == 1
    assert sum("the store is back" in text for text in said) == 1


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("is_store_down", [False, True], ids=["checkpoint", "both"])
def test_a_checkpoint_that_goes_away_is_waited_for(
    depot: Depot, folder: Path, video: Path, tmp_path: Path, is_store_down: bool
) -> None:
    disk, elsewhere = tmp_path / "disk", tmp_path / "elsewhere"
    disk.mkdir()
    depot.proxy.bytes_s = 1_000_000
    with watching(folder, depot.uri, f"sqlite://{disk / 'up.db'}", connections=CONNECTIONS) as watcher:
        until(lambda: watcher.tools.tally.parts_sent >= 2)
        disk.rename(elsewhere)
        if is_store_down:
            depot.proxy.go_down()
        until(lambda: ("checkpoint" in watcher.tools.patience.away) or is_store_down)
        until(lambda: ("store" in watcher.tools.patience.away) or not is_store_down)
        assert record(depot) is None
        elsewhere.rename(disk)
        depot.proxy.is_down, depot.proxy.bytes_s = False, None
        until(lambda: is_done(depot, video))
    assert depot.store.get(NAME) == video.read_bytes()
    assert depot.proxy.bytes_up <= SIZE + CONNECTIONS * PART_BYTES + OVERHEAD


@pytest.mark.parametrize("loss", [slow("kept"), "lost", slow("lost, and listing is not permitted")])
def test_a_killed_watcher_with_a_checkpoint_is_gone_on_with(
    depot: Depot, folder: Path, video: Path, tmp_path: Path, loss: str
) -> None:
    path = tmp_path / "checkpoint.db"
    sent = killed_at(depot, folder, "in the middle of a part", "--checkpoint", f"sqlite://{path}")
    if loss != "kept":
        for file in tmp_path.glob("checkpoint.db*"):
            file.unlink()
    if "permitted" in loss:
        depot.server.denied = {("ListMultipartUploads", ""), ("ListParts", "")}
    with watching(folder, depot.uri, f"sqlite://{path}", connections=CONNECTIONS):
        until(lambda: is_done(depot, video))
    assert depot.store.get(NAME) == video.read_bytes()
    twice = sent if "permitted" in loss else 0
    assert depot.proxy.bytes_up <= twice + SIZE + CONNECTIONS * PART_BYTES + OVERHEAD


def test_with_a_checkpoint_nothing_need_be_listed(depot: Depot, folder: Path, video: Path, tmp_path: Path) -> None:
    depot.server.denied = {(name, "") for name in ("ListMultipartUploads", "ListParts", "ListObjects")}
    uri = f"sqlite://{tmp_path / 'checkpoint.db'}"
    killed_at(depot, folder, "in the middle of a part", "--checkpoint", uri)
    with watching(folder, depot.uri, uri, connections=CONNECTIONS):
        until(lambda: is_done(depot, video))
    assert depot.store.get(NAME) == video.read_bytes()
    assert depot.proxy.bytes_up <= SIZE + CONNECTIONS * PART_BYTES + OVERHEAD

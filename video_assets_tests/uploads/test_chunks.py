"""The layout of chunks: what docs/uploads.md promises a reader, whatever the interruptions."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store
from video_assets_tests.uploads.conftest import Depot
from video_assets_tests.uploads.watching import PART_BYTES, box, command, kill, movie, until, watching

NAME = "veh-1/2026-01-05/front/080000.mp4"
PAGE = Path(__file__).parents[2] / "docs" / "uploads.md"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"), create=True)


def put(folder: Path, data: bytes) -> Path:
    path = folder / NAME
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(data)
    return path


def streams(store: ObjectStore) -> list[dict[str, Any]]:
    return [json.loads(store.get(i.key)) for i in store.list() if i.key.endswith("/metadata.json")]


def complete(store: ObjectStore) -> list[dict[str, Any]]:
    return [said for said in streams(store) if said["complete"]]


def whole(store: ObjectStore, said: dict[str, Any], root: str = "") -> bytes:
    """The file, by the rules for a reader."""
    folder = f"{root}{said['stream_id']}/"
    names = [info.key.removeprefix(folder) for info in store.list(f"{folder}chunk_")]
    assert names == [f"chunk_{number:06}.bin" for number in range(len(said["chunks"]))]
    pieces = [store.get(folder + name) for name in names]
    assert [chunk["index"] for chunk in said["chunks"]] == list(range(len(pieces)))
    assert [chunk["size"] for chunk in said["chunks"]] == list(map(len, pieces))
    assert [chunk["sha256"] for chunk in said["chunks"]] == [hashlib.sha256(piece).hexdigest() for piece in pieces]
    assert {len(piece) for piece in pieces[:-1]} <= {said["chunk_bytes"]}
    assert 0 < len(pieces[-1]) <= said["chunk_bytes"]
    assert sum(map(len, pieces)) == said["size"]
    return b"".join(pieces)


def test_a_file_becomes_a_stream(folder: Path, store: ObjectStore) -> None:
    path = put(folder, movie(10_500))
    with watching(folder, store.uri, layout="chunks", part_bytes=1_000):
        until(lambda: bool(complete(store)))
    (said,) = streams(store)
    assert whole(store, said) == path.read_bytes()
    assert re.fullmatch("[0-9a-f]{32}", said["stream_id"])
    assert (said["name"], said["format"], said["fault"]) == (NAME, "video-assets/chunks/1", None)
    fields = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text().partition("## Chunks: the format")[2], re.MULTILINE))
    assert set(said) == fields


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(b"PUT /fleet/up/", marks=pytest.mark.slow),
        b"chunk_000004.bin",
        pytest.param(b"PUT [^ ]*metadata.json", marks=pytest.mark.slow),
    ],
)
def test_numbers_are_consecutive_however_a_watcher_ends(depot: Depot, folder: Path, point: bytes) -> None:
    path = put(folder, movie(8 * PART_BYTES + 5))
    depot.proxy.hold_at = point
    with command(folder, depot.uri, "--layout", "chunks", "--connections", "2") as process:
        assert depot.proxy.held.wait(60)
        kill(process)
    depot.proxy.release()
    assert complete(depot.store) == []
    with watching(folder, depot.uri, layout="chunks", connections=2):
        until(lambda: bool(complete(depot.store)))
    (said,) = streams(depot.store)
    assert whole(depot.store, said) == path.read_bytes()
    assert depot.proxy.bytes_up <= path.stat().st_size + 2 * PART_BYTES + 64 * 1024


def test_a_stream_that_was_not_complete_becomes_that_of_the_changed_file(folder: Path, store: ObjectStore) -> None:
    path = put(folder, movie(10_500))
    with watching(folder, store.uri, layout="chunks", part_bytes=1_000, is_followed=True, settle_s=60.0):
        until(lambda: [said["size"] for said in streams(store)] == [10_000])
    path.write_bytes(movie(3_500, 1))
    with watching(folder, store.uri, layout="chunks", part_bytes=1_000):
        until(lambda: bool(complete(store)))
    (said,) = streams(store)
    assert whole(store, said) == movie(3_500, 1)


def test_a_complete_stream_never_changes(folder: Path, store: ObjectStore) -> None:
    path = put(folder, movie(3_500))
    with watching(folder, store.uri, layout="chunks", part_bytes=1_000):
        until(lambda: len(complete(store)) == 1)
        (first,) = complete(store)
        path.write_bytes(movie(3_500, 1))
        until(lambda: len(complete(store)) == 2)
    second = next(said for said in complete(store) if said["stream_id"] != first["stream_id"])
    assert whole(store, first) == movie(3_500)
    assert whole(store, second) == movie(3_500, 1)
    with watching(folder, store.uri, layout="chunks", part_bytes=1_000) as watcher:
        watcher.tools.stop.wait(1.0)
        assert watcher.tools.tally.files_done == watcher.tools.tally.parts_sent == 0


def test_a_growing_file_is_a_stream_that_grows(folder: Path, store: ObjectStore) -> None:
    data = movie(10_500)
    path = put(folder, data[:2_500])
    with watching(folder, store.uri, layout="chunks", is_followed=True, part_bytes=1_000, settle_s=4.0):
        for size in (2_500, 5_500, 9_500):
            path.write_bytes(data[:size])
            until(lambda wanted=size // 1_000: len(streams(store)[0]["chunks"]) == wanted if streams(store) else False)  # type: ignore[misc]
            (said,) = streams(store)
            assert not said["complete"]
            assert whole(store, said) == data[: size // 1_000 * 1_000]
        path.write_bytes(data)
        until(lambda: bool(complete(store)))
    (said,) = streams(store)
    assert whole(store, said) == data


@pytest.mark.parametrize("is_followed", [False, True])
def test_a_stream_without_moov_is_no_video(folder: Path, store: ObjectStore, is_followed: bool) -> None:
    data = box(b"ftyp", b"isom0000") + box(b"mdat", bytes(3_000))
    put(folder, data)
    with watching(
        folder, store.uri, layout="chunks", part_bytes=1_000, incomplete_after_s=1.0, is_followed=is_followed
    ):
        until(lambda: any(said["complete"] or said["fault"] for said in streams(store)))
    (said,) = streams(store)
    root = "" if is_followed else "incomplete/"
    assert whole(store, said, root) == data
    assert (said["complete"], said["fault"]) == ((False, "no moov") if is_followed else (True, None))

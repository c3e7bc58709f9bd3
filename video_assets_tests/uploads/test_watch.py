"""What goes up, when, and what is left behind, on a store that is a folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store
from video_assets.uploads.errors import InvalidWatch, SourceAway, Stopped
from video_assets.uploads.patience import Patience
from video_assets.uploads.record import Stream
from video_assets_tests.uploads.watching import PART_BYTES, box, movie, until, watching
from video_assets_tests.video.make_video import make_video

NAME = "front/080000.mp4"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"), create=True)


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(data)
    return path


def keys(store: ObjectStore) -> list[str]:
    return [info.key for info in store.list()]


def has(store: ObjectStore, key: str) -> bool:
    return key in keys(store)


def said(store: ObjectStore, key: str) -> dict[str, Any]:
    found = json.loads(store.get(key))
    assert isinstance(found, dict)
    return found


def unplayable(size: int) -> bytes:
    return box(b"ftyp", b"isom0000") + box(b"mdat", bytes(size))


def test_a_file_and_its_record_go_up(folder: Path, store: ObjectStore) -> None:
    video = make_video(folder / "a video é.mp4", frames=30)
    data = video.read_bytes()
    with watching(folder, store.uri, part_bytes=4_000):
        until(lambda: has(store, f"{video.name}.json"))
    assert keys(store) == [video.name, f"{video.name}.json"]
    assert store.get(video.name) == data
    record = said(store, f"{video.name}.json")
    assert record["stream_id"] == Stream(os.uname().nodename, str(video)).stream_id
    assert (record["size"], record["mtime_ns"]) == (len(data), video.stat().st_mtime_ns)
    assert record["uri"] == store.uri_of(video.name)
    assert record["confirmed"] is True
    assert record["incomplete"] is False
    assert [part["number"] for part in record["parts"]] == list(range(1, len(record["parts"]) + 1))
    start = 0
    for part in record["parts"]:
        digest = hashlib.sha256(data[start : start + part["size"]]).hexdigest()
        assert part["checksum"] == f"sha256:{digest}"
        start += part["size"]
    assert start == len(data)
    capture = record["capture"]
    assert (capture["codec"], capture["width"], capture["height"], capture["duration_s"]) == ("h264", 96, 64, 1.0)
    times = [datetime.fromisoformat(record[name]) for name in ("modified_at", "started_at", "uploaded_at")]
    assert all(time.utcoffset() is not None for time in times)
    assert times == sorted(times)


def test_only_videos_that_are_whole_go_up(folder: Path, store: ObjectStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(movie(500))
    for name in ("notes.txt", ".hidden.mp4", ".trash/a.mp4", "twin.mp4", "a\\b.mp4"):
        put(folder, name, movie(500))
    put(folder, "twin.mp4.part", b"half")
    put(folder, "empty.mp4", b"")
    (folder / "link.mp4").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.mp4")
    put(folder, "last.MKV", b"any bytes")
    with watching(folder, store.uri):
        until(lambda: has(store, "last.MKV.json"))
        assert keys(store) == ["last.MKV", "last.MKV.json"]
        (folder / "twin.mp4.part").unlink()
        until(lambda: has(store, "twin.mp4.json"))
    assert store.get("twin.mp4") == movie(500)


def test_a_file_waits_until_it_is_still(folder: Path, store: ObjectStore) -> None:
    path = put(folder, NAME, movie(1_000))
    with watching(folder, store.uri, settle_s=1.5, rescan_s=0.1) as watcher:
        for size in range(1_100, 2_100, 100):
            path.write_bytes(movie(size))
            watcher.tools.stop.wait(0.2)
            assert keys(store) == []
        until(lambda: has(store, f"{NAME}.json"))
    assert store.get(NAME) == path.read_bytes()


def test_an_mp4_without_moov_is_never_published_as_a_video(
    folder: Path, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "video_assets")
    path = put(folder, NAME, unplayable(3_000))
    with watching(folder, store.uri, incomplete_after_s=1.0):
        until(lambda: has(store, f"incomplete/{NAME}.json"))
        assert not has(store, NAME)
        # Its writer comes back and closes it.
        path.write_bytes(unplayable(3_000) + box(b"moov", b"tables"))
        until(lambda: has(store, f"{NAME}.json"))
    assert said(store, f"incomplete/{NAME}.json")["incomplete"] is True
    assert store.get(NAME) == path.read_bytes()
    assert f"{NAME} has no index (moov) and is still: it goes up under incomplete/" in caplog.messages


def test_what_is_uploaded_is_not_uploaded_again(folder: Path, store: ObjectStore) -> None:
    put(folder, NAME, movie(3_000))
    with watching(folder, store.uri):
        until(lambda: has(store, f"{NAME}.json"))
    before = [store.head(key) for key in keys(store)]
    put(folder, "other.mp4", movie(500))
    with watching(folder, store.uri) as watcher:
        until(lambda: has(store, "other.mp4.json"))
        assert watcher.tools.tally.files_done == 1
    assert [store.head(info.key) for info in before] == before


def test_a_file_that_grew_keeps_its_stream_unlike_one_that_was_replaced(folder: Path, store: ObjectStore) -> None:
    path = put(folder, NAME, movie(3_000))
    ids = []
    for data in (path.read_bytes(), path.read_bytes() + box(b"free", b"more"), movie(3_000, 1)):
        path.write_bytes(data)
        with watching(folder, store.uri, part_bytes=1_000):
            until(lambda: _is_of(store, path))
        assert store.get(NAME) == data
        ids.append(said(store, f"{NAME}.json")["stream_id"])
    assert ids[0] == ids[1] != ids[2]


def _is_of(store: ObjectStore, path: Path) -> bool:
    if not has(store, f"{NAME}.json"):
        return False
    record = said(store, f"{NAME}.json")
    return (record["size"], record["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)


@pytest.mark.parametrize("layout", ["files", "chunks"])
def test_a_file_is_deleted_once_the_store_confirms_it(folder: Path, store: ObjectStore, layout: str) -> None:
    path, data = put(folder, NAME, movie(3_000)), movie(3_000)
    with watching(folder, store.uri, is_deleted_after=True, layout=layout, part_bytes=1_000):
        until(lambda: not path.exists())
    joined = b"".join(store.get(key) for key in keys(store) if key.endswith((".mp4", ".bin")))
    assert joined == data


def test_a_file_whose_object_is_no_longer_there_is_kept(
    folder: Path, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(folder, NAME, movie(3_000))
    with watching(folder, store.uri):
        until(lambda: has(store, f"{NAME}.json"))
    store.delete(NAME)
    with watching(folder, store.uri, is_deleted_after=True):
        until(lambda: f"{NAME} is kept: the store does not confirm that it has it" in caplog.messages)
    assert path.exists()


def test_a_growing_file_is_sent_as_it_grows(folder: Path, store: ObjectStore) -> None:
    data = movie(10_000)
    path = put(folder, NAME, data[:1_500])
    with watching(folder, store.uri, is_followed=True, part_bytes=1_000, settle_s=4.0) as watcher:
        for size in range(2_500, 9_500, 1_000):
            with path.open("ab") as file:
                file.write(data[path.stat().st_size : size])
            until(lambda wanted=size // 1_000: watcher.tools.tally.parts_sent >= wanted)  # type: ignore[misc]
        assert not has(store, NAME)
        # Writers of MP4 go back to the beginning when they close the file.
        with path.open("r+b") as file:
            file.write(data[:8])
            file.seek(0, os.SEEK_END)
            file.write(data[path.stat().st_size :])
        until(lambda: has(store, f"{NAME}.json"))
        assert watcher.tools.tally.parts_sent <= 11
    assert store.get(NAME) == data
    assert list(store.uploads.pending()) == []


def test_a_part_of_a_growing_file_that_was_rewritten_is_sent_again(folder: Path, store: ObjectStore) -> None:
    path = put(folder, NAME, unplayable(4_000))
    with watching(folder, store.uri, is_followed=True, part_bytes=1_000, settle_s=2.0) as watcher:
        until(lambda: watcher.tools.tally.parts_sent >= 4)
        path.write_bytes(movie(5_500))
        until(lambda: has(store, f"{NAME}.json"))
    assert store.get(NAME) == movie(5_500)


def test_a_file_that_cannot_be_read_does_not_hold_up_others_and_is_said_once(
    folder: Path, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("bad/b.mp4/in the way", b"")
    put(folder, "bad/b.mp4", movie(500))
    put(folder, "good.mp4", movie(500))
    with watching(folder, store.uri) as watcher:
        until(lambda: has(store, "good.mp4.json"))
        until(lambda: any("is a folder that holds other objects" in text for text in caplog.messages))
        watcher.tools.stop.wait(1.0)
    assert sum("is a folder that holds other objects" in text for text in caplog.messages) == 1


@pytest.mark.usefixtures("_hasty")
def test_a_folder_whose_disk_is_unplugged_is_waited_for(
    folder: Path, store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "video_assets")
    put(folder, NAME, movie(3_000))
    folder.rename(tmp_path / "unplugged")
    with watching(folder, store.uri) as watcher:
        until(lambda: watcher.tools.patience.away == ["folder"])
        watcher.tools.stop.wait(1.0)
        (tmp_path / "unplugged").rename(folder)
        until(lambda: has(store, f"{NAME}.json"))
    assert sum("the folder is away" in text for text in caplog.messages) == 1
    assert sum("the folder is back" in text for text in caplog.messages) == 1


def test_a_disk_that_is_unplugged_while_the_store_is_asked_is_waited_for_by_the_next_look() -> None:
    # Its file is open and stays unreadable: waited for inside, it would be an error once the disk is back.
    stop = threading.Event()
    stop.set()

    def compared() -> None:
        raise SourceAway("/videos", "cannot be read", "Plug in or mount its disk.")

    with pytest.raises(SourceAway):
        Patience(stop).until_done("store", compared)
    with pytest.raises(Stopped):
        Patience(stop).until_done("folder", compared)


def test_uploads_of_files_long_gone_are_aborted(folder: Path, store: ObjectStore) -> None:
    for name in ("gone.mp4", NAME):
        store.uploads.begin(name, part_bytes=1_000).send(1, bytes(1_000))
    put(folder, NAME, unplayable(3_000))
    with watching(folder, store.uri, abandoned_after_s=0.0):
        until(lambda: [pending.key for pending in store.uploads.pending()] == [NAME])


def test_a_folder_has_one_watcher_for_a_store(folder: Path, store: ObjectStore) -> None:
    put(folder, NAME, movie(500))
    with watching(folder, store.uri):
        until(lambda: has(store, f"{NAME}.json"))
        with pytest.raises(InvalidWatch, match="another process already"), watching(folder, store.uri):
            pass


def test_what_is_sent_keeps_the_limit(folder: Path, store: ObjectStore) -> None:
    put(folder, NAME, movie(3 * PART_BYTES))
    with watching(folder, store.uri, bytes_s=PART_BYTES) as watcher:
        until(lambda: watcher.tools.tally.parts_sent >= 1)
        watcher.tools.stop.wait(0.5)
        assert watcher.tools.tally.parts_sent == 1
        until(lambda: has(store, f"{NAME}.json"))


def test_a_file_that_failed_and_is_gone_is_forgotten(folder: Path, store: ObjectStore) -> None:
    store.put("b.mp4/in the way", b"")
    path = put(folder, "b.mp4", movie(500))
    with watching(folder, store.uri, rescan_s=60.0) as watcher:
        until(lambda: len(watcher._aside) == 1)
        path.unlink()
        until(lambda: len(watcher._aside) == 0)
        assert watcher._idle_s([]) == 60.0

"""Videos that were uploaded in chunks are videos like any; what is wrong with a stream is a row that says so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from video_assets.archive.archive import archive
from video_assets.doctor.source import source_finding
from video_assets.downloads.download import download
from video_assets.downloads.selection import Selection
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.registry import open_source
from video_assets.sources.source_objects import Remarks
from video_assets.stages.extraction import extract_to_folder
from video_assets.stages.manifest import build_manifest
from video_assets.stages.manifest_scan import manifest_scan
from video_assets.stages.unmatched import build_unmatched
from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.video.image import ImageOptions
from video_assets.video.sampling import parse_policy
from video_assets_tests.sources.chunk_uploads import STREAM, put_stream
from video_assets_tests.stages.uploads import DAY, Uploads
from video_assets_tests.storage.counting_store import CountingStore
from video_assets_tests.video.make_video import make_video

VEHICLE_DAY = Partition("2026-01-03", "veh-1")
NAME = "veh-1/2026-01-03/front/083000.mp4"
OTHER = "f" * 32


class Fleet:
    """A source with streams of chunks, and a store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = open_store(str(root / "uploads"), create=True)
        self.tables = ParquetTables(open_store(str(root / "store"), create=True))
        self.settings = Settings(
            source=str(root / "uploads"),
            store=str(root / "store"),
            index=str(root / "index"),
            source_layout="chunks",
            settle_s=0,
            listing_max_age_s=0,
        )

    def rows(self, partition: Partition = VEHICLE_DAY) -> list[dict[str, Any]]:
        manifest = build_manifest(partition, tables=self.tables, settings=self.settings)
        self.tables.commit(manifest.fold)
        return manifest.fold.rows.to_pylist()

    def unmatched(self) -> tuple[list[str], dict[str, int]]:
        manifest = build_unmatched(tables=self.tables, settings=self.settings)
        rows = manifest.fold.rows.to_pylist()
        assert all(row["video_path"] == self.source.uri_of(f"{STREAM}/metadata.json") for row in rows)
        return [row["error_msg"] for row in rows], {reason: n for reason, n in manifest.skipped.items() if n}

    def age(self, seconds: float) -> None:
        for path in (self.root / "uploads").rglob("*"):
            os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_stream_is_one_video_beside_those_that_are_one_object(fleet: Fleet) -> None:
    put_stream(fleet.source, NAME, bytes(2_500), folder="depot/")
    put_stream(fleet.source, NAME.replace("front", "rear"), bytes(1_000), folder="depot/", stream_id=OTHER)
    fleet.source.put("veh-1/2026-01-03/left/083000.mp4", b"left")
    rows = fleet.rows()
    uri = fleet.source.uri_of(f"depot/{STREAM}/metadata.json/{NAME}")
    assert [(row["video_path"], row["size_bytes"], row["camera"]) for row in rows] == [
        (uri, 2_500, "front"),
        (fleet.source.uri_of(f"depot/{OTHER}/metadata.json/{NAME.replace('front', 'rear')}"), 1_000, "rear"),
        (fleet.source.uri_of("veh-1/2026-01-03/left/083000.mp4"), 4, "left"),
    ]
    assert {str(row["start_time"]) for row in rows} == {"2026-01-03 08:30:00+00:00"}
    assert fleet.unmatched() == ([], {})
    again = fleet.rows()
    assert again == rows


def test_without_the_layout_chunks_are_no_videos(fleet: Fleet) -> None:
    put_stream(fleet.source, NAME, bytes(2_500))
    fleet.settings = fleet.settings.model_copy(update={"source_layout": "files"})
    assert fleet.rows() == []
    assert fleet.unmatched() == ([], {"extension": 4})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"leave_out": (1,)}, "chunk_000001.bin is not there"),
        ({"name": "../../etc/passwd"}, "has a name that cannot be used: key '../../etc/passwd' has '.' or '..'"),
        ({"size": 2_600}, "has the size 2600, and its chunks have 2500 bytes"),
        ({"format": "video-assets/chunks/2"}, "has the format 'video-assets/chunks/2'"),
        ({"complete": False, "fault": "no moov"}, "no moov"),
        ({"stream_id": "x" * 32}, None),
    ],
)
def test_what_is_wrong_with_a_stream_is_a_row(fleet: Fleet, change: dict[str, Any], words: str | None) -> None:
    if words is None:
        put_stream(fleet.source, NAME, bytes(2_500), stream_id=OTHER)
        for info in list(fleet.source.list()):
            fleet.source.copy(info.key, info.key.replace(OTHER, STREAM))
            fleet.source.delete(info.key)
        words = "lies in another's folder"
    else:
        put_stream(fleet.source, **{"name": NAME, "data": bytes(2_500), **change})
    (said,), _ = fleet.unmatched()
    assert said.startswith("is no usable stream of chunks: ")
    assert words in said
    assert fleet.rows() == []


def test_a_chunk_of_another_size_is_a_row(fleet: Fleet) -> None:
    put_stream(fleet.source, NAME, bytes(2_500))
    fleet.source.put(f"{STREAM}/chunk_000001.bin", bytes(999))
    (said,), _ = fleet.unmatched()
    assert said.endswith("chunk_000001.bin has 999 bytes, and its metadata says 1000")


def test_an_upload_that_is_under_way_is_counted_and_one_that_was_given_up_is_a_row(fleet: Fleet) -> None:
    metadata = put_stream(fleet.source, NAME, bytes(2_500), complete=False)
    assert fleet.unmatched() == ([], {"unfinished": 1})
    examples = build_unmatched(tables=fleet.tables, settings=fleet.settings).examples
    assert f"skipped 1 unfinished: {metadata}" in examples
    fleet.source.delete(metadata)
    assert fleet.unmatched() == ([], {"unfinished": 1})
    fleet.age(2 * 86_400)
    (said,), skipped = fleet.unmatched()
    assert said == "is no usable stream of chunks: it has 3 chunks and no metadata.json"
    assert skipped == {}


def test_chunks_beyond_the_end_are_counted_and_no_part_of_the_video(fleet: Fleet) -> None:
    put_stream(fleet.source, NAME, bytes(2_500))
    fleet.source.put(f"{STREAM}/chunk_000003.bin", b"more")
    assert fleet.unmatched() == ([], {"surplus_chunk": 1})
    assert [row["size_bytes"] for row in fleet.rows()] == [2_500]


def test_a_file_in_the_place_of_another_replaces_it_once_it_is_whole(fleet: Fleet) -> None:
    put_stream(fleet.source, NAME, bytes(2_500))
    (first,) = fleet.rows()
    put_stream(fleet.source, NAME, bytes(900), stream_id=OTHER, generation=1, complete=False)
    assert fleet.rows() == [first]
    put_stream(fleet.source, NAME, bytes(900), stream_id=OTHER, generation=1)
    put_stream(fleet.source, NAME, bytes(800), stream_id="1" * 32, host="depot-2")
    assert fleet.unmatched() == ([], {"superseded": 1})
    assert [row["size_bytes"] for row in fleet.rows()] == [800, 900]
    listing = open_source(fleet.settings)
    assert [upload.info.size_bytes for upload in listing.everything()] == [800, 900]
    assert f"skipped 1 superseded: {STREAM}/metadata.json/{NAME}" in listing.told


def test_other_objects_in_the_folder_of_a_stream_keep_their_place(fleet: Fleet) -> None:
    put_stream(fleet.source, NAME, bytes(2_500))
    for name in ("a.txt", "d/e.mp4", "z.txt"):
        fleet.source.put(f"{STREAM}/{name}", b"x")
    listing = open_source(fleet.settings)
    keys = [info.key for info in listing.objects.everything(Remarks())]
    assert keys == sorted(keys)
    assert keys == [f"{STREAM}/{name}" for name in ("a.txt", "d/e.mp4", f"metadata.json/{NAME}", "z.txt")]


def test_a_stream_that_is_deleted_is_marked_and_one_that_is_damaged_later_is_not(fleet: Fleet) -> None:
    metadata = put_stream(fleet.source, NAME, bytes(2_500))
    fleet.rows()
    fleet.source.put(metadata, b"damaged")
    (row,) = fleet.rows()
    assert (row["status"], row["source_deleted_at"]) == ("ok", None)
    for info in list(fleet.source.list()):
        fleet.source.delete(info.key)
    (row,) = fleet.rows()
    assert row["source_deleted_at"] is not None


def test_a_scan_of_the_source_sees_what_the_manifest_has(fleet: Fleet) -> None:
    put_stream(fleet.source, NAME, bytes(2_500))
    fleet.source.put("veh-1/2026-01-03/left/083000.mp4", b"left")
    fleet.rows()
    listing = open_source(fleet.settings, with_files=True)
    assert listing.scans() == {VEHICLE_DAY: manifest_scan(VEHICLE_DAY, fleet.tables, listing.store)}
    put_stream(fleet.source, NAME, bytes(2_500), stream_id=OTHER)
    assert listing.again().scans() != {VEHICLE_DAY: manifest_scan(VEHICLE_DAY, fleet.tables, listing.store)}


def test_a_stream_that_is_known_is_not_read_again(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    put_stream(fleet.source, NAME, bytes(2_500))
    listing = open_source(fleet.settings)
    counting = CountingStore(tmp_path / "uploads")
    listing.objects.home = counting  # type: ignore[attr-defined]
    for _ in range(3):
        assert len(list(listing.objects.everything(Remarks()))) == 1
    assert len(counting.requests) == 1


def chunked(uploads: Uploads, source: Callable[[], ObjectStore], data: bytes) -> str:
    """The same video in chunks, as another upload."""
    store = source()
    key = put_stream(store, f"{DAY.vehicle}/{DAY.date}/rear/083000.mp4", data, chunk_bytes=4_096)
    return store.uri_of(key)


@pytest.mark.parametrize("mode", ["copy", "reference"])
def test_a_video_in_chunks_gives_the_clip_and_the_frames_of_the_file(tmp_path: Path, mode: str) -> None:
    uploads = Uploads(tmp_path)
    data = make_video(tmp_path / "a.mp4", frames=60).read_bytes()
    uploads.put("front", data, ".mp4")
    settings = {"source_layout": "chunks", "clips_mode": mode, "settle_s": 0, "frames_sampling": "every_s=0.5"}
    chunked(uploads, lambda: open_store(str(tmp_path / "uploads")), data)
    uploads.manifest(**settings)
    clips = {row["camera"]: row for row in uploads.clips(**settings).rows.to_pylist()}
    assert {row["status"] for row in clips.values()} == {"ok"}
    told = ("size_bytes", "checksum", "duration_s", "frame_count", "codec", "start_time")
    assert [clips["rear"][name] for name in told] == [clips["front"][name] for name in told]
    frames = uploads.frames(**settings)
    by_camera: dict[str, list[Any]] = {}
    for row in frames.rows.to_pylist():
        assert row["status"] == "ok", row["error_msg"]
        told = ("pts", "time_base_num", "time_base_den", "phash", "sharpness", "captured_at")
        by_camera.setdefault(row["camera"], []).append([row[name] for name in told])
    assert len(by_camera["front"]) > 2
    assert by_camera["rear"] == by_camera["front"]


def test_a_damaged_chunk_is_a_failed_clip_that_names_it(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    source = open_store(str(tmp_path / "uploads"), create=True)
    data = make_video(tmp_path / "a.mp4", frames=60).read_bytes()
    chunked(uploads, lambda: source, data)
    uploads.manifest(source_layout="chunks", settle_s=0)
    piece = source.get(f"{STREAM}/chunk_000001.bin")
    source.put(f"{STREAM}/chunk_000001.bin", piece[:-1] + bytes([piece[-1] ^ 1]))
    (row,) = uploads.clips(source_layout="chunks").rows.to_pylist()
    assert row["status"] == "failed"
    assert "chunk_000001.bin: has the SHA-256" in row["error_msg"]


def test_the_engine_alone_reads_it_and_the_doctor_says_what_is_wrong(fleet: Fleet, tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.mp4", frames=30).read_bytes()
    uri = fleet.source.uri_of(put_stream(fleet.source, NAME, data, chunk_bytes=4_096))
    done = extract_to_folder(f"{uri}/{NAME}", tmp_path / "frames", parse_policy("every_s=0.5"), ImageOptions("jpeg"))
    assert (done.frames > 0, done.error_msg) == (True, None)
    put_stream(fleet.source, NAME, data, chunk_bytes=4_096, stream_id=OTHER, leave_out=(1,))
    finding = source_finding(fleet.settings)
    assert (finding.verdict, finding.remedy) == (
        "warning",
        "Upload these files again, or delete what there is of their streams.",
    )
    assert "chunk_000001.bin is not there" in finding.text


def test_downloads_and_archives_give_the_file(fleet: Fleet, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10
    put_stream(fleet.source, NAME, data)
    fleet.rows()
    (path,) = download(Selection(), tmp_path / "out", settings=fleet.settings)
    assert path == tmp_path / "out/veh-1_20260103T083000Z/front/083000.mp4"
    assert path.read_bytes() == data
    uri = fleet.source.uri_of(f"{STREAM}/metadata.json/{NAME}")
    (named,) = download(Selection(uris=(uri,)), tmp_path / "named", settings=fleet.settings)
    assert named.relative_to(tmp_path / "named") == path.relative_to(tmp_path / "out")
    assert archive(Selection(), tmp_path / "archive", settings=fleet.settings).copied == 1
    assert (tmp_path / "archive/veh-1/2026-01-03/001/front/083000.mp4").read_bytes() == data


def test_a_list_may_name_it(fleet: Fleet) -> None:
    put_stream(fleet.source, NAME, bytes(2_500))
    listed = fleet.root / "list.txt"
    listed.write_text(fleet.source.uri_of(f"{STREAM}/metadata.json/{NAME}") + "\n")
    fleet.settings = fleet.settings.model_copy(update={"video_list": listed.as_uri()})
    assert [(row["size_bytes"], row["camera"], row["source"]) for row in fleet.rows()] == [(2_500, "front", "list")]

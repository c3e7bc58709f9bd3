"""Fixed windows through the stages: the same frames at the same times, whatever the cut; and what goes wrong."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.clips import build_clips
from video_assets.stages.counts import lost_items
from video_assets.stages.frames import build_frames
from video_assets.stages.images import read_image_bytes
from video_assets.stages.manifest import build_manifest
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, VIDEO_MANIFEST
from video_assets.video.index import index_video
from video_assets_tests.video.make_video import make_video

DAY = Partition("2026-01-03", "veh-7")
START = datetime(2026, 1, 3, 8, 30, tzinfo=UTC)
NTSC = Fraction(30000, 1001)
CUTS = ("fast", "accurate")


@dataclass(frozen=True)
class Clips:
    """A store and a source, and the stages that windows concern."""

    root: Path

    def upload(self, name: str = "083000.mp4", **options: Any) -> Path:
        path = self.root / "uploads/veh-7/2026-01-03/front" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_video(path, **{"frames": 90, "bframes": 2, **options})
        os.utime(path, (1_750_000_000,) * 2)
        return path

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(str(self.root / "store"), create=True))

    def run(self, **changes: Any) -> tuple[Fold, Fold]:
        places = {"source": "uploads", "store": "store", "index": "index"}
        settings = Settings(**{**{k: str(self.root / v) for k, v in places.items()}, "workers": 1, **changes})
        tables, quiet = self.tables, {"settings": settings, "report": lambda line: None}
        tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)
        clips = build_clips(DAY, partial(tables.read, VIDEO_MANIFEST, DAY), tables=tables, **quiet)  # type: ignore[arg-type]
        tables.commit(clips)
        assert lost_items(clips) == (set(), set())
        frames = build_frames(DAY, partial(tables.read, CLIPS, DAY), tables=tables, **quiet)  # type: ignore[arg-type]
        tables.commit(frames)
        assert lost_items(frames) == (set(), set())
        return clips, frames

    def rows(self, **changes: Any) -> list[dict[str, Any]]:
        return self.run(**changes)[0].rows.to_pylist()

    def blobs(self) -> dict[str, bytes]:
        store = self.tables.store
        return {info.key: store.get(info.key) for info in store.list("clips/") if "/blobs/" in info.key}


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    return Clips(tmp_path)


def file_of(row: dict[str, Any]) -> Path:
    return Path(row["clip_uri"].removeprefix("file://"))


@pytest.mark.parametrize(
    ("cut", "starts"), [("fast", [0, 36, 60]), ("accurate", [0, 30, 60])], ids=["fast", "accurate"]
)
def test_a_video_becomes_a_clip_for_each_window(cut: str, starts: list[int], clips: Clips) -> None:
    video = clips.upload(fps=NTSC, pts=list(range(7, 97)), time_base=1 / NTSC, audio_s=1)
    rows = clips.rows(clip_seconds=1, clip_cut=cut)
    offsets = [Fraction(start) / NTSC for start in starts]
    assert [row["window"] for row in rows] == [0, 1, 2]
    assert [row["source_pts_s"] for row in rows] == [float(offset) for offset in offsets]
    assert [row["start_time"] for row in rows] == [START + timedelta(seconds=float(o)) for o in offsets]
    source = index_video(video)
    assert source.start_s == 0.233, "MP4 rounds an empty edit to milliseconds"
    assert [row["source_pts"] for row in rows] == source.pts[source.presented][starts].tolist()
    assert {(r["source_time_base_num"], r["source_time_base_den"]) for r in rows} == {(1, 30000)}
    ends = [*offsets[1:], 90 / NTSC]
    assert [row["duration_s"] for row in rows] == [float(e - o) for o, e in zip(offsets, ends, strict=True)]
    assert [row["frame_count"] for row in rows] == [b - a for a, b in pairwise([*starts, 90])]
    assert {row["status"] for row in rows} == {"ok"}
    for row in rows:
        data = file_of(row).read_bytes()
        assert row["clip_id"] in row["clip_uri"]
        assert (row["size_bytes"], row["checksum"]) == (len(data), "sha256:" + hashlib.sha256(data).hexdigest())
        assert (row["codec"], row["width"], row["height"], row["video_path"]) == ("h264", 96, 64, video.as_uri())
        assert (row["uncut_reason"], row["truncated"], row["missing_frames"], row["interlaced"]) == (
            None,
            False,
            0,
            False,
        )
    assert len(clips.blobs()) == 3


@pytest.mark.parametrize(("cut", "name"), [("fast", "083000.mp4"), ("fast", "083000.mkv"), ("accurate", "083000.mp4")])
def test_frames_have_the_same_times_with_and_without_windows(cut: str, name: str, clips: Clips) -> None:
    """Down to the microsecond: a window's start is never rounded on the way to a frame's time."""
    clips.upload(name, fps=NTSC)
    whole = clips.run(frames_sampling="fps=1000")[1].rows.to_pylist()
    windows = clips.run(frames_sampling="fps=1000", clip_seconds=0.7, clip_cut=cut)[1].rows.to_pylist()
    assert len({row["clip_id"] for row in windows}) > 3
    assert [row["captured_at"] for row in windows] == [row["captured_at"] for row in whole]
    assert len(whole) == 90
    if cut == "fast":
        assert [read_image_bytes(row) for row in windows] == [read_image_bytes(row) for row in whole]


def test_a_frame_of_a_window_is_traced_to_its_exact_time_in_the_source(clips: Clips) -> None:
    clips.upload(pts=list(range(45, 135)))
    whole = clips.run(frames_sampling="fps=10")[1].rows.to_pylist()
    made, frames = clips.run(frames_sampling="fps=10", clip_seconds=0.8)
    by_id = {row["clip_id"]: row for row in made.rows.to_pylist()}
    traced = []
    for frame in frames.rows.to_pylist():
        clip = by_id[frame["clip_id"]]
        start = clip["source_pts"] * Fraction(clip["source_time_base_num"], clip["source_time_base_den"])
        traced.append(start + frame["pts"] * Fraction(frame["time_base_num"], frame["time_base_den"]))
    assert traced == [row["pts"] * Fraction(row["time_base_num"], row["time_base_den"]) for row in whole]


@pytest.mark.parametrize("cut", CUTS)
def test_a_video_no_longer_than_a_window_is_copied_as_it_is(cut: str, clips: Clips) -> None:
    video = clips.upload(frames=30, audio_s=1)
    (row,) = clips.rows(clip_seconds=1, clip_cut=cut)
    assert (row["window"], row["uncut_reason"], row["source_pts_s"]) == (None, None, 0)
    assert file_of(row).read_bytes() == video.read_bytes()


def test_what_cannot_be_cut_at_key_frames_stays_whole_and_says_why(clips: Clips) -> None:
    video = clips.upload("083000.avi", codec="mpeg4")
    (row,) = clips.rows(clip_seconds=1)
    assert (row["status"], row["window"]) == ("ok", None)
    assert "presentation times" in row["uncut_reason"]
    assert file_of(row).read_bytes() == video.read_bytes()
    accurate = clips.rows(clip_seconds=1, clip_cut="accurate")
    assert [(row["window"], row["frame_count"]) for row in accurate] == [(0, 30), (1, 30), (2, 30)]


def test_windows_made_before_a_cut_fails_are_taken_away(clips: Clips) -> None:
    """VP8 in AVI: only a copy shows that its times do not fit into Matroska."""
    clips.upload("083000.avi", codec="libvpx", bframes=0, options={"auto-alt-ref": "0", "lag-in-frames": "0"})
    (row,) = clips.rows(clip_seconds=1)
    assert "other times" in row["uncut_reason"]
    assert [key.rpartition(".")[2] for key in clips.blobs()] == ["avi"]


@pytest.mark.parametrize("cut", CUTS)
def test_a_video_cut_off_keeps_its_windows_and_one_failed_row_says_so(cut: str, clips: Clips) -> None:
    video = clips.upload("083000.mkv", frames=180)
    stamp = video.stat().st_mtime
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    os.utime(video, (stamp, stamp))
    rows = clips.rows(clip_seconds=1, clip_cut=cut)
    ok, failed = [r for r in rows if r["status"] == "ok"], [r for r in rows if r["status"] == "failed"]
    assert [row["window"] for row in ok] == [0, 1, 2]
    assert [row["truncated"] for row in ok] == [False, False, True]
    assert [row["declared_duration_s"] for row in ok] == [6.0] * 3
    assert [(row["error_stage"], row["window"], row["clip_uri"]) for row in failed] == [("decode", None, None)]
    assert "early" in failed[0]["error_msg"]
    assert clips.run(clip_seconds=1, clip_cut=cut)[0].made == 0, "damaged bytes are not tried again"


def test_a_whole_clip_that_is_cut_off_says_so_in_its_row(clips: Clips) -> None:
    video = clips.upload(container_options={"movflags": "+faststart"})
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    os.utime(video, (1_750_000_000,) * 2)
    made, frames = clips.run()
    (row,) = made.rows.to_pylist()
    assert (row["status"], row["truncated"], row["declared_duration_s"]) == ("ok", True, 3.0)
    assert row["missing_frames"] == 90 - row["frame_count"] > 0
    assert frames.rows.to_pylist()[-1]["error_msg"].count("early") == 1


@pytest.mark.parametrize("data", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_one_failed_row_with_windows_too(data: bytes, clips: Clips) -> None:
    video = clips.upload()
    video.write_bytes(data or b"\0")
    os.utime(video, (1_750_000_000,) * 2)
    (row,) = clips.rows(clip_seconds=1)
    assert (row["status"], row["error_stage"], row["clip_uri"]) == ("failed", "probe", None)
    assert not clips.blobs()


def test_a_source_that_changed_since_it_was_listed_is_a_failed_row(clips: Clips) -> None:
    video = clips.upload()
    places = {name: str(clips.root / folder) for name, folder in (("source", "uploads"), ("store", "store"))}
    settings = Settings(**places, index=str(clips.root / "index"), clip_seconds=1, workers=1)  # type: ignore[arg-type]
    tables = clips.tables
    tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)
    os.utime(video, (1_750_000_100,) * 2)
    read = partial(tables.read, VIDEO_MANIFEST, DAY)
    rows = build_clips(DAY, read, tables=tables, settings=settings, report=lambda line: None).rows.to_pylist()
    assert [(row["status"], row["error_stage"]) for row in rows] == [("failed", "source")]


def test_another_length_replaces_the_windows_and_the_first_brings_them_back(clips: Clips) -> None:
    clips.upload()
    first, whole, second = clips.run(clip_seconds=1), clips.run(), clips.run(clip_seconds=1.5)
    ids = [set(fold.rows["clip_id"].to_pylist()) for fold, _ in (first, whole, second)]
    assert not ids[0] & ids[1] | ids[0] & ids[2] | ids[1] & ids[2]
    again = clips.run(clip_seconds=1.0)
    assert [fold.made for fold in again] == [0, 0]
    assert again[1].rows.equals(first[1].rows)


def test_a_corrected_time_zone_reaches_windows_and_their_frames(clips: Clips) -> None:
    clips.upload(fps=NTSC)
    first = clips.run(clip_seconds=1)
    second = clips.run(clip_seconds=1, path_timezone="Europe/Berlin")
    assert [fold.made for fold in second] == [0, 0]
    for fold, other, name in ((first[0], second[0], "start_time"), (first[1], second[1], "captured_at")):
        pairs = zip(fold.rows[name].to_pylist(), other.rows[name].to_pylist(), strict=True)
        assert {one - two for one, two in pairs} == {timedelta(hours=1)}


@pytest.mark.parametrize("lost", ["a window", "the record and a window"])
def test_what_is_lost_is_made_again_with_the_same_bytes(lost: str, clips: Clips) -> None:
    clips.upload()
    first, blobs = clips.run(clip_seconds=1)[0], clips.blobs()
    if "record" in lost:
        shutil.rmtree(clips.root / "store/clips" / DAY.path / "items")
    if "window" in lost:
        (clips.root / "store" / sorted(blobs)[1]).unlink()
    again = clips.run(clip_seconds=1)[0]
    assert again.made == 1
    assert (clips.blobs(), again.data_version) == (blobs, first.data_version)


MAKE_CLIPS = """
import sys
from pathlib import Path
from video_assets_tests.stages.test_clip_windows import Clips
Clips(Path(sys.argv[1])).run(clip_seconds=0.25, clip_cut="accurate")
"""


def test_killed_between_windows_and_rerun_ends_the_same(clips: Clips, tmp_path: Path) -> None:
    clips.upload(frames=150)
    undisturbed = Clips(tmp_path / "undisturbed")
    shutil.copytree(clips.root / "uploads", undisturbed.root / "uploads", copy_function=shutil.copy2)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", MAKE_CLIPS, str(clips.root)], env=environment)
    wait(lambda: any((clips.root / "store/clips").rglob("*.mp4")) or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    made, _ = clips.run(clip_seconds=0.25, clip_cut="accurate")
    wanted, _ = undisturbed.run(clip_seconds=0.25, clip_cut="accurate")
    assert made.count("ok") == wanted.count("ok") == 20
    assert sorted(hashlib.sha256(data).digest() for data in clips.blobs().values()) == sorted(
        hashlib.sha256(data).digest() for data in undisturbed.blobs().values()
    )
    assert made.rows["checksum"].equals(wanted.rows["checksum"])
    assert not any(scratch.iterdir()), "temporary files have no names"
    assert not [path for path in (clips.root / "store/.tmp").iterdir() if path.is_file()]


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.002)

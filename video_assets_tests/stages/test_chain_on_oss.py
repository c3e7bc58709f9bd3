"""The chain with its source and its home in Alibaba OSS: what it makes is what it makes on a disk."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.clips import build_clips
from video_assets.stages.embeddings import build_embeddings
from video_assets.stages.frames import build_frames
from video_assets.stages.images import read_image_bytes
from video_assets.stages.manifest import build_manifest
from video_assets.stages.vector_index import build_index
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, VIDEO_MANIFEST
from video_assets_tests.servers.oss_environment import oss_environment
from video_assets_tests.servers.oss_server import OssServer
from video_assets_tests.video.make_video import make_video

DAY = Partition("2026-01-03", "veh-7")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OssServer]:
    with oss_environment(monkeypatch, ("uploads", "home")) as server:
        yield server


@pytest.fixture
def videos(tmp_path: Path, server: OssServer) -> Path:
    """The same two videos on the disk and in the bucket."""
    uploads = tmp_path / "uploads"
    for camera, frames in (("front", 60), ("rear", 45)):
        key = f"veh-7/2026-01-03/{camera}/083000.mp4"
        (uploads / key).parent.mkdir(parents=True)
        make_video(uploads / key, frames=frames)
        os.utime(uploads / key, (time.time() - 3600,) * 2)
        open_store(f"oss://{server.endpoint}/uploads/fleet").put(key, (uploads / key).read_bytes())
    return uploads


def run_chain(source: str, home: str, index: Path, **changes: Any) -> dict[str, Fold]:
    places = {"source": source, "store": home, "index": str(index)}
    settings = Settings(**{**places, "workers": 1, "settle_s": 0, **changes})
    tables, silent = ParquetTables(open_store(home, create=True)), {"settings": settings, "report": lambda line: None}
    folds = {"video_manifest": build_manifest(DAY, tables=tables, settings=settings).fold}
    tables.commit(folds["video_manifest"])
    for upstream, name, stage in (
        (VIDEO_MANIFEST, "clips", build_clips),
        (CLIPS, "frames", build_frames),
        (FRAMES, "embeddings", build_embeddings),
        (EMBEDDINGS, "vector_index", build_index),
    ):
        folds[name] = stage(DAY, partial(tables.read, upstream, DAY), tables=tables, **silent)
        tables.commit(folds[name])
    return folds


def seen(folds: dict[str, Fold]) -> list[tuple[Any, ...]]:
    """What does not depend on where it lies: each frame's camera, time and picture."""
    return sorted(
        (row["camera"], row["frame_idx"], row["pts"], row["status"], hashlib.sha256(read_image_bytes(row)).hexdigest())
        for row in folds["frames"].rows.to_pylist()
    )


@pytest.mark.parametrize("mode", ["copy", "reference"])
def test_the_chain_on_oss_makes_what_it_makes_on_a_disk_and_writes_nothing_to_the_source(
    server: OssServer, videos: Path, tmp_path: Path, mode: str
) -> None:
    server.denied = {(name, "uploads") for name in ("PutObject", "AppendObject", "InitiateMultipartUpload")}
    server.denied |= {("DeleteObject", "uploads"), ("CopyObject", "uploads"), ("DeleteMultipleObjects", "uploads")}
    on_disk = run_chain(videos.as_uri(), str(tmp_path / "home"), tmp_path / "index", clips_mode=mode)
    source = f"oss://{server.endpoint}/uploads/fleet"
    on_oss = run_chain(source, f"oss://{server.endpoint}/home/store", tmp_path / "index-oss", clips_mode=mode)
    assert [len(fold.rows) for fold in on_oss.values()] == [len(fold.rows) for fold in on_disk.values()]
    assert [fold.count("ok") for fold in on_oss.values()] == [fold.count("ok") for fold in on_disk.values()]
    assert seen(on_oss) == seen(on_disk)
    for row in on_oss["video_manifest"].rows.to_pylist():
        assert row["video_path"] == f"{source}/veh-7/2026-01-03/{row['camera']}/083000.mp4"


def test_another_endpoint_of_the_same_buckets_makes_nothing_again(
    server: OssServer, videos: Path, tmp_path: Path
) -> None:
    first = run_chain(
        f"oss://{server.endpoint}/uploads/fleet", f"oss://{server.endpoint}/home/store", tmp_path / "index"
    )
    other = f"localhost:{server.port}"
    second = run_chain(f"oss://{other}/uploads/fleet", f"oss://{other}/home/store", tmp_path / "index")
    # Points carry the URL of their picture, so the index alone is told the new ones.
    assert [second[name].made for name in ("clips", "frames", "embeddings")] == [0, 0, 0]
    assert second["vector_index"].rows["points"].equals(first["vector_index"].rows["points"])
    for name, column in (("clips", "clip_id"), ("frames", "image_id")):
        assert second[name].rows[column].equals(first[name].rows[column])
    for column in ("clip_uri", "video_path"):
        assert all(uri.startswith(f"oss://{other}/") for uri in second["clips"].rows[column].to_pylist())
    assert seen(second) == seen(first)

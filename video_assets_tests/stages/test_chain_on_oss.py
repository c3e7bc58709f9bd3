"""The chain with its source and its home in Alibaba OSS: what it makes is what it makes on a disk."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from video_assets.search.query import search_image
from video_assets.settings import Settings
from video_assets.stages.images import read_image_bytes
from video_assets.storage.registry import open_store
from video_assets.table_store.table_store import Fold
from video_assets.vectors.vector_index import PointFilter
from video_assets_tests.servers.oss_environment import oss_environment
from video_assets_tests.servers.oss_server import OssServer
from video_assets_tests.stages.chain import run_chain
from video_assets_tests.video.make_video import make_video


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


def run(source: str, home: str, index: Path, **changes: Any) -> dict[str, Fold]:
    return run_chain(
        Settings(**{"source": source, "store": home, "index": str(index), "workers": 1, "settle_s": 0, **changes})
    )


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
    on_disk = run(videos.as_uri(), str(tmp_path / "home"), tmp_path / "index", clips_mode=mode)
    source = f"oss://{server.endpoint}/uploads/fleet"
    on_oss = run(source, f"oss://{server.endpoint}/home/store", tmp_path / "index-oss", clips_mode=mode)
    assert [len(fold.rows) for fold in on_oss.values()] == [len(fold.rows) for fold in on_disk.values()]
    assert [fold.count("ok") for fold in on_oss.values()] == [fold.count("ok") for fold in on_disk.values()]
    assert seen(on_oss) == seen(on_disk)
    for row in on_oss["video_manifest"].rows.to_pylist():
        assert row["video_path"] == f"{source}/veh-7/2026-01-03/{row['camera']}/083000.mp4"


def test_another_endpoint_of_the_same_buckets_makes_nothing_again(
    server: OssServer, videos: Path, tmp_path: Path
) -> None:
    first = run(f"oss://{server.endpoint}/uploads/fleet", f"oss://{server.endpoint}/home/store", tmp_path / "index")
    other = f"localhost:{server.port}"
    second = run(f"oss://{other}/uploads/fleet", f"oss://{other}/home/store", tmp_path / "index")
    assert len(second["video_manifest"].rows) == len(first["video_manifest"].rows) == 2
    assert [second[name].made for name in ("video_manifest", "clips", "frames", "embeddings", "vector_index")] == [
        0
    ] * 5
    assert second["vector_index"].rows["points"].equals(first["vector_index"].rows["points"])
    for name, column in (("clips", "clip_id"), ("frames", "image_id")):
        assert second[name].rows[column].equals(first[name].rows[column])
    for column in ("clip_uri", "video_path"):
        assert all(uri.startswith(f"oss://{other}/") for uri in second["clips"].rows[column].to_pylist())
    assert seen(second) == seen(first)
    places = {"source": f"oss://{other}/uploads/fleet", "store": f"oss://{other}/home/store"}
    settings = Settings(**places, index=str(tmp_path / "index"))
    (tmp_path / "picture.jpg").write_bytes(read_image_bytes(second["frames"].rows.to_pylist()[0]))
    found = search_image(settings, tmp_path / "picture.jpg", where=PointFilter(), limit=1)[0]
    assert found.image_url.startswith(f"oss://{other}/home/store/frames/")
    assert found.video_path.startswith(f"oss://{other}/uploads/fleet/veh-7/")

"""The stages with uploads and home in buckets: the same rows as on a disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import clip_id
from video_assets.settings import Settings
from video_assets.stages.clips import CODE_VERSION, build_clips
from video_assets.stages.images import read_image_bytes
from video_assets.stages.manifest import build_manifest
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import Fold
from video_assets.tables import VIDEO_MANIFEST
from video_assets_tests.stages.chain import DAY, run_chain
from video_assets_tests.video.make_video import make_video

_OF_THE_PLACE = {
    "item_id",
    "clip_id",
    "video_path",
    "source_etag",
    "etag",
    "clip_uri",
    "image_id",
    "image_url",
    "last_modified",
}
"""Columns that name a place or a version, and so differ between a disk and a bucket."""


def _run(source: str, store: str, index: Path) -> dict[str, Fold]:
    return run_chain(Settings(source=source, store=store, index=str(index), workers=1, settle_s=0))


def _same_anywhere(fold: Fold) -> list[dict[str, Any]]:
    rows = [{k: v for k, v in row.items() if k not in _OF_THE_PLACE} for row in fold.rows.to_pylist()]
    return sorted(rows, key=repr)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    for key in ("front/083000.mp4", "rear é+/083000.mp4", "rear/083000.mp4"):
        path = tmp_path / "uploads/veh-7/2026-01-03" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        make_video(path, frames=60 if "front" in key else 45)
    return tmp_path / "uploads"


def test_the_chain_on_s3_makes_the_rows_it_makes_on_a_disk(uploads: Path, s3_root: str, tmp_path: Path) -> None:
    source = open_store(f"{s3_root}/uploads of the fleet")
    for path in uploads.rglob("*.mp4"):
        source.put(str(path.relative_to(uploads)), path.read_bytes())
    home = open_store(f"{s3_root}/home").uri

    on_disk = _run(str(uploads), str(tmp_path / "store"), tmp_path / "index")
    on_s3 = _run(source.uri, home, tmp_path / "index-s3")
    again = _run(source.uri, home, tmp_path / "index-s3")

    assert len(on_s3["clips"].rows) == 2
    assert on_s3["frames"].count("ok") > 2
    for name in ("video_manifest", "clips", "frames"):
        assert _same_anywhere(on_s3[name]) == _same_anywhere(on_disk[name])
    assert on_s3["vector_index"].rows["points"].to_pylist() == on_disk["vector_index"].rows["points"].to_pylist()
    assert [again[name].made for name in ("video_manifest", "clips", "frames", "embeddings")] == [0] * 4
    for row in on_s3["clips"].rows.to_pylist():
        assert row["clip_uri"].startswith(f"{home}/clips/date=2026-01-03/vehicle=veh-7/blobs/")
        assert row["clip_id"] == clip_id(row["video_path"], row["source_etag"], {"mode": "copy"}, CODE_VERSION)
    images = [sorted(map(read_image_bytes, folds["frames"].rows.to_pylist())) for folds in (on_disk, on_s3)]
    assert images[0] == images[1]


def test_a_video_overwritten_in_the_bucket_is_another_clip(uploads: Path, s3_root: str) -> None:
    source = open_store(f"{s3_root}/uploads")
    key = "veh-7/2026-01-03/front/083000.mp4"
    settings = Settings(source=source.uri, store=f"{s3_root}/home", workers=1, settle_s=0)
    tables = ParquetTables(open_store(settings.store))
    ids = []
    for version in ("front", "rear", "front"):
        source.put(key, (uploads / f"veh-7/2026-01-03/{version}/083000.mp4").read_bytes())
        tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)
        manifest = partial(tables.read, VIDEO_MANIFEST, DAY)
        clips = build_clips(DAY, manifest, tables=tables, settings=settings, report=lambda line: None)
        tables.commit(clips)
        ids.append(clips.rows["clip_id"].to_pylist())
    assert ids[0] == ids[2] != ids[1]

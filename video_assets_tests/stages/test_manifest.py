"""The manifest: rows as every consumer reads them, and what becomes of files that go."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.manifest import Manifest, build_manifest
from video_assets.stages.status import KnownSources, known_sources, unmatched_videos
from video_assets.stages.unmatched import build_unmatched
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables

DAY = Partition("2026-01-03", "veh-7")
KEY = "veh-7/2026-01-03/front/083000.mp4"


@pytest.fixture
def tables(tmp_path: Path) -> ParquetTables:
    return ParquetTables(open_store(str(tmp_path / "store"), create=True))


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    root = tmp_path / "up loads"
    put(root, KEY)
    return root


def put(root: Path, key: str, data: bytes = b"video") -> Path:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))
    return path


def build(tables: ParquetTables, uploads: Path, **changes: Any) -> Manifest:
    settings = Settings(source=str(uploads), timezone="Asia/Shanghai", **changes)
    manifest = build_manifest(DAY, tables=tables, settings=settings)
    tables.commit(manifest.fold)
    return manifest


def test_a_row_says_what_consumers_read(tables: ParquetTables, uploads: Path) -> None:
    (row,) = build(tables, uploads).fold.rows.to_pylist()
    assert row["video_path"] == (uploads / KEY).as_uri()
    assert row["size_bytes"] == 5
    assert row["last_modified"] == time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime((uploads / KEY).stat().st_mtime))
    assert row["camera"] == "front"
    assert row["start_time"].isoformat() == "2026-01-03T00:30:00+00:00"
    assert row["source_deleted_at"] is None


def test_a_rerun_with_nothing_new_is_the_same(tables: ParquetTables, uploads: Path) -> None:
    build(tables, uploads)
    manifest = build_manifest(DAY, tables=tables, settings=Settings(source=str(uploads), timezone="Asia/Shanghai"))
    assert not tables.commit(manifest.fold)


def test_a_day_without_uploads_is_an_empty_table(tables: ParquetTables, uploads: Path) -> None:
    settings = Settings(source=str(uploads))
    fold = build_manifest(Partition("2026-05-05", "veh-9"), tables=tables, settings=settings).fold
    assert fold.rows.num_rows == 0
    assert tables.commit(fold)


def test_a_file_deleted_at_the_source_stays_with_the_time_it_went(tables: ParquetTables, uploads: Path) -> None:
    build(tables, uploads)
    other = put(uploads, KEY.replace("front", "rear"))
    (uploads / KEY).unlink()
    rows = {row["camera"]: row for row in build(tables, uploads).fold.rows.to_pylist()}
    assert rows["front"]["source_deleted_at"] is not None
    assert rows["rear"]["source_deleted_at"] is None
    gone_at = rows["front"]["source_deleted_at"]
    again = {row["camera"]: row for row in build(tables, uploads).fold.rows.to_pylist()}
    assert again["front"]["source_deleted_at"] == gone_at
    other.unlink()
    put(uploads, KEY)
    back = {row["camera"]: row for row in build(tables, uploads).fold.rows.to_pylist()}
    assert back["front"]["source_deleted_at"] is None


def test_the_folder_of_a_deleted_file_may_be_gone_too(tables: ParquetTables, uploads: Path) -> None:
    build(tables, uploads)
    (uploads / KEY).unlink()
    (uploads / KEY).parent.rmdir()
    (row,) = build(tables, uploads).fold.rows.to_pylist()
    assert row["source_deleted_at"] is not None


def test_a_source_that_cannot_be_read_is_not_an_empty_day(tables: ParquetTables, uploads: Path) -> None:
    build(tables, uploads)
    uploads.rename(uploads.with_name("elsewhere"))
    with pytest.raises(StoreUnavailable):
        build(tables, uploads)


def test_unmatched_videos_are_rows_with_reasons(tables: ParquetTables, uploads: Path) -> None:
    put(uploads, "no-date/x.mp4")
    put(uploads, "bad|id/2026-01-03/front/083000.mp4")
    put(uploads, "veh-1/readme.txt")
    manifest = build_unmatched(tables=tables, settings=Settings(source=str(uploads)))
    reasons = {Path(row["video_path"]).name: row["error_msg"] for row in manifest.fold.rows.to_pylist()}
    assert "does not fit" in reasons["x.mp4"]
    assert "vehicle id" in reasons["083000.mp4"]
    assert manifest.skipped == {"folder": 0, "empty": 0, "extension": 1, "settling": 0}
    assert manifest.examples == ["skipped 1 extension: veh-1/readme.txt"]


def test_status_knows_the_unmatched_and_the_sources(tables: ParquetTables, uploads: Path) -> None:
    build(tables, uploads)
    settings = Settings(source=str(uploads))
    assert unmatched_videos(tables, settings) == []
    put(uploads, "no date/x.mp4")
    tables.commit(build_unmatched(tables=tables, settings=settings).fold)
    (told,) = unmatched_videos(tables, settings)
    assert told.startswith("no date/x.mp4: does not fit: where the template has {date:%Y-%m-%d}, the key has 'x.mp4'")
    assert known_sources(tables) == KnownSources(["veh-7"], ["front"], ["2026-01-03"])

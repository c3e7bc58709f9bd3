"""The chain with its tables in MaxCompute: the rows are those of Parquet, images lie one by one, SQL reads them all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.clips import build_clips
from video_assets.stages.embeddings import build_embeddings
from video_assets.stages.fleet_daily import roll_up
from video_assets.stages.frames import build_frames
from video_assets.stages.images import read_image_bytes
from video_assets.stages.manifest import build_manifest
from video_assets.stages.status import chain_status, known_sources
from video_assets.stages.unmatched import build_unmatched
from video_assets.stages.vector_index import build_index
from video_assets.storage.registry import open_store
from video_assets.table_store.odps import OdpsTables
from video_assets.table_store.registry import open_tables
from video_assets.tables import ALL, CHAIN, CLIPS, EMBEDDINGS, FLEET_DAILY, FRAMES, UNMATCHED, VIDEO_MANIFEST
from video_assets_tests.servers.odps_environment import odps_server, odps_settings
from video_assets_tests.servers.odps_server import OdpsServer
from video_assets_tests.servers.oss_environment import oss_environment
from video_assets_tests.video.make_video import make_video

DAY = Partition("2026-01-03", "veh-7")
PLACES = {
    VIDEO_MANIFEST: DAY,
    CLIPS: DAY,
    FRAMES: DAY,
    EMBEDDINGS: DAY,
    FLEET_DAILY: Partition(DAY.date),
    UNMATCHED: None,
}


@pytest.fixture
def server() -> Iterator[OdpsServer]:
    with odps_server() as server:
        yield server


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    for key in ("veh-7/2026-01-03/front/083000.mp4", "veh-7/2026-01-03/rear/083000.mp4", "who/knows.mp4"):
        path = tmp_path / "uploads" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        make_video(path, frames=60 if "front" in key else 45)
        os.utime(path, (time.time() - 3600,) * 2)
    return tmp_path / "uploads"


def run_chain(settings: Settings) -> list[int]:
    """Every stage once; how many items each made."""
    tables = open_tables(settings, create=True)
    silent: dict[str, Any] = {"tables": tables, "settings": settings, "report": lambda line: None}
    folds = [build_manifest(DAY, tables=tables, settings=settings).fold]
    tables.commit(folds[0])
    for upstream, stage in (
        (VIDEO_MANIFEST, build_clips),
        (CLIPS, build_frames),
        (FRAMES, build_embeddings),
        (EMBEDDINGS, build_index),
    ):
        folds.append(stage(DAY, lambda table=upstream: tables.read(table, DAY), **silent))
        tables.commit(folds[-1])
    for fold in (
        roll_up(Partition(DAY.date), tables=tables, settings=settings),
        build_unmatched(tables=tables, settings=settings).fold,
    ):
        tables.commit(fold)
    return [fold.made for fold in folds]


def stable_rows(settings: Settings) -> dict[str, pa.Table]:
    """What every table says, where it lies in the home left out."""
    tables = open_tables(settings)
    return {
        table.name: [
            {k: v.replace(settings.store, "") if isinstance(v, str) else v for k, v in row.items()}
            for row in tables.read(table, place).select(table.stable_columns).to_pylist()
        ]
        for table, place in PLACES.items()
    }


def test_the_chain_on_odps_makes_the_rows_it_makes_on_parquet(
    server: OdpsServer, uploads: Path, tmp_path: Path
) -> None:
    def home(name: str, **fields: Any) -> Settings:
        places = {"store": str(tmp_path / name), "index": str(tmp_path / f"{name}-index")}
        return Settings(source=str(uploads), workers=1, settle_s=0, **{**places, **fields})

    parquet = home("parquet", frames_packing="files")
    odps = home("odps", tables="odps", **odps_settings(server))
    made = run_chain(parquet)
    assert run_chain(odps) == made
    rows = stable_rows(odps)
    assert rows == stable_rows(parquet)
    assert len(rows["frames"]) > 2
    assert chain_status(open_tables(odps), odps)[0] == chain_status(open_tables(parquet), parquet)[0]
    assert known_sources(open_tables(odps)) == known_sources(open_tables(parquet))

    # A rerun makes and commits nothing.
    tables = open_tables(odps)
    versions = {table.name: tables.version(table, DAY) for table in CHAIN}
    before = server.requests.count("CommitUpload")
    assert run_chain(odps) == [0] * 5
    assert {table.name: tables.version(table, DAY) for table in CHAIN} == versions
    assert server.requests.count("CommitUpload") == before
    assert not list(open_store(odps.store).list("frames/date=2026-01-03/vehicle=veh-7/data")), "no table in the store"


def test_jobs_open_images_and_videos_by_the_paths_in_the_tables(
    server: OdpsServer, uploads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with oss_environment(monkeypatch, ("uploads", "home")) as oss:
        source, store = f"oss://{oss.endpoint}/uploads/fleet", f"oss://{oss.endpoint}/home/store"
        for path in uploads.rglob("*.mp4"):
            open_store(source).put(str(path.relative_to(uploads)), path.read_bytes())
        fields = {"tables": "odps", "video_input_table": "video_input", **odps_settings(server)}
        settings = Settings(source=source, store=store, index=str(tmp_path / "i"), workers=1, settle_s=0, **fields)
        run_chain(settings)
        tables = open_tables(settings)
        assert isinstance(tables, OdpsTables)
        query = "select video_path, size_bytes, last_modified from video_input where ds='20260103' and vehicle='veh-7'"
        with tables.handle.execute_sql(query).open_reader(tunnel=True) as reader:
            found = [record.values for record in reader]
        assert [path for path, _, _ in sorted(found)] == [
            f"{source}/veh-7/2026-01-03/{camera}/083000.mp4" for camera in ("front", "rear")
        ]
        assert all(
            open_store(source).head(path.removeprefix(f"{source}/")).size_bytes == size for path, size, _ in found
        )
        for row in tables.read(FRAMES, DAY).to_pylist():
            assert row["image_offset"] is None
            key = row["image_url"].removeprefix(f"{store}/")
            assert open_store(store).get(key) == read_image_bytes(row)
        assert {table.name for table in ALL} - {"fleet_windows"} == {
            t.name.replace("video_assets_", "") for t in server.warehouse.tables()
        } - {"video_input"} | {"video_manifest"}

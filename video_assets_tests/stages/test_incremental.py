"""One upload of a hundred is overwritten: exactly what was made of it is made anew, and what is stale goes away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages import vector_index as index_stage
from video_assets.stages.clips import build_clips
from video_assets.stages.embeddings import build_embeddings
from video_assets.stages.frames import build_frames
from video_assets.stages.manifest import build_manifest
from video_assets.table_store.registry import open_tables
from video_assets.tables import CHAIN, CLIPS, EMBEDDINGS, FRAMES, VECTOR_INDEX, VIDEO_MANIFEST
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.vector_index import EVERYTHING, Point, PointFilter, VectorIndex
from video_assets_tests.video.make_video import make_video

DAY = Partition("2026-01-03", "veh-7")
STAGES: tuple[Any, ...] = (
    (VIDEO_MANIFEST, CLIPS, build_clips),
    (CLIPS, FRAMES, build_frames),
    (FRAMES, EMBEDDINGS, build_embeddings),
    (EMBEDDINGS, VECTOR_INDEX, index_stage.build_index),
)


@dataclass
class Operations:
    """What was asked of the vector index: ids of points written and removed."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def watch(self, index: VectorIndex) -> VectorIndex:
        """The index, with its writes noted."""
        upsert, delete = index.upsert, index.delete

        def noting_upsert(collection: str, points: Iterable[Point]) -> int:
            listed = list(points)
            self.written += [point.id for point in listed]
            return upsert(collection, listed)

        def noting_delete(collection: str, ids: Iterable[str], *, where: PointFilter = EVERYTHING) -> int:
            listed = list(ids)
            self.removed += listed
            return delete(collection, listed, where=where)

        index.upsert, index.delete = noting_upsert, noting_delete  # type: ignore[method-assign]
        return index


@dataclass
class Chain:
    """The whole chain over one vehicle's day, without Dagster."""

    root: Path
    operations: Operations

    def settings(self, **changes: Any) -> Settings:
        places = {name: str(self.root / folder) for name, folder in (("source", "uploads"), ("store", "store"))}
        return Settings(**{**places, "index": str(self.root / "index"), "settle_s": 0, "workers": 2, **changes})

    def run(self, **changes: Any) -> dict[str, int]:
        """Runs every stage; returns how many items (of the index: points) each made."""
        settings = self.settings(**changes)
        tables = open_tables(settings, create=True)
        fold = build_manifest(DAY, tables=tables, settings=settings).fold
        tables.commit(fold)
        made = {VIDEO_MANIFEST.name: fold.made}
        for upstream, table, build in STAGES:
            read = partial(tables.read, upstream, DAY)
            fold = build(DAY, read, tables=tables, settings=settings, report=lambda line: None)
            tables.commit(fold)
            made[table.name] = fold.made
        return made

    def objects(self) -> dict[str, str]:
        return {info.key: info.etag for info in open_tables(self.settings()).store.list()}  # type: ignore[attr-defined]

    def rows(self, table: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = open_tables(self.settings()).read(table, DAY).to_pylist()
        return rows

    def points(self, model: str = "mobilenet_v2") -> dict[str, str]:
        index = open_vector_index(str(self.root / "index"))
        try:
            return index.partition_points(model, DAY.date, str(DAY.vehicle))
        finally:
            index.close()

    def upload(self, camera: str, video: Path) -> None:
        path = self.root / "uploads" / str(DAY.vehicle) / DAY.date / camera / "083000.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video.read_bytes())
        os.utime(path, (time.time() - 3600,) * 2)


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    operations = Operations()
    monkeypatch.setattr(
        index_stage, "open_vector_index", lambda *args, **options: operations.watch(open_vector_index(*args, **options))
    )
    return Chain(tmp_path, operations)


def test_one_overwritten_upload_of_a_hundred(chain: Chain, tmp_path: Path) -> None:
    short, longer = (make_video(tmp_path / f"{n}.mp4", frames=n, size=(32, 32)) for n in (10, 70))
    for number in range(100):
        chain.upload(f"cam-{number}", short)
    assert chain.run() == {"video_manifest": 100, "clips": 100, "frames": 100, "embeddings": 100, "vector_index": 100}
    before, points = chain.objects(), chain.points()
    rows = {table.name: chain.rows(table) for table in CHAIN}
    chain.operations.written.clear()

    chain.upload("cam-42", longer)
    made = chain.run()
    assert made == {"video_manifest": 1, "clips": 1, "frames": 1, "embeddings": 1, "vector_index": 3 + 1}
    changed = {key for key, etag in chain.objects().items() if before.get(key) != etag}
    new = sorted(key.removeprefix(f"{key.split('/')[0]}/{DAY.path}/").split("/")[0] for key in changed)
    assert new == ["blobs"] * 2 + ["data.parquet"] * 5 + ["items"] * 3, "a clip, a shard, a record each, and the tables"
    assert not before.keys() - chain.objects().keys()

    stale = points.keys() - chain.points().keys()
    assert (len(stale), len(chain.operations.written), chain.operations.removed) == (1, 3, sorted(stale))
    assert len(chain.points()) == 99 + 3
    for table in (VIDEO_MANIFEST, CLIPS, FRAMES, EMBEDDINGS):
        others = [row for row in chain.rows(table) if row["camera"] != "cam-42"]
        assert others == [row for row in rows[table.name] if row["camera"] != "cam-42"]
        old = {row["etag" if table is VIDEO_MANIFEST else "item_id"] for row in rows[table.name]} - {
            row["etag" if table is VIDEO_MANIFEST else "item_id"] for row in others
        }
        assert not old & {row.get("item_id") or row.get("etag") for row in chain.rows(table)}
    chain.operations.written.clear()
    assert set(chain.run().values()) == {0}
    assert (chain.operations.written, len(chain.operations.removed)) == ([], 1)


def test_another_parameter_is_another_version_and_nothing_is_mixed(chain: Chain, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=60, size=(32, 32))
    for camera in ("front", "rear"):
        chain.upload(camera, video)
    chain.run()
    first = {table.name: chain.rows(table) for table in CHAIN}
    points = chain.points()
    fast = chain.run(frames_sampling="fps=4")
    assert fast == {
        "video_manifest": 0,
        "clips": 0,
        "frames": 2,
        "embeddings": 2,
        "vector_index": 2 * 8 + len(points),
    }
    images = [{row["image_id"] for row in chain.rows(table)} for table in (FRAMES, EMBEDDINGS)]
    assert images[0] == images[1]
    assert not images[0] & {row["image_id"] for row in first["frames"]}
    assert not points.keys() & chain.points().keys()
    assert len(chain.points()) == len(images[0]) == 16
    back = chain.run()
    assert back == {**dict.fromkeys(fast, 0), "vector_index": 2 * 8 + len(points)}, "what was made is still there"
    assert {table.name: chain.rows(table) for table in CHAIN} == first
    assert chain.points() == points


def test_another_version_of_a_model_replaces_every_vector_of_it(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from video_assets.embedding.embedder import embedder_identity
    from video_assets.stages import embeddings as embeddings_stage

    chain.upload("front", make_video(tmp_path / "v.mp4", frames=60, size=(32, 32)))
    chain.run()
    rows, points = chain.rows(EMBEDDINGS), chain.points()
    newer = embedder_identity("mobilenet_v2")._replace(version="next")
    for stage in (embeddings_stage, index_stage):
        monkeypatch.setattr(stage, "embedder_identity", lambda name: newer)
    made = chain.run()
    assert (made["frames"], made["embeddings"], made["vector_index"]) == (0, 1, 2 * len(points))
    assert {row["model_version"] for row in chain.rows(EMBEDDINGS)} == {"next"}
    assert not {row["vectors_uri"] for row in rows} & {row["vectors_uri"] for row in chain.rows(EMBEDDINGS)}
    assert not points.keys() & chain.points().keys()

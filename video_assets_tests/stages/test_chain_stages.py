"""The stages without Dagster: modes, packings, models side by side, an index lost and rebuilt."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.clips import build_clips
from video_assets.stages.embeddings import build_embeddings, read_vectors
from video_assets.stages.frames import build_frames
from video_assets.stages.images import read_image_bytes
from video_assets.stages.manifest import build_manifest
from video_assets.stages.vector_index import build_index
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, VIDEO_MANIFEST
from video_assets.vectors.vector_index import PointFilter, open_vector_index
from video_assets_tests.embedding.tiny_clip import write_tiny_clip
from video_assets_tests.video.make_video import make_video

DAY = Partition("2026-01-03", "veh-7")


@dataclass(frozen=True)
class Chain:
    """A store and a source, and the stages over one partition."""

    root: Path

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(str(self.root / "store"), create=True))

    def run(self, **changes: Any) -> dict[str, Fold]:
        settings = Settings(source=str(self.root / "uploads"), index=str(self.root / "index"), workers=1, **changes)
        tables, silent = self.tables, {"settings": settings, "report": lambda line: None}
        manifest = build_manifest(DAY, tables=tables, settings=settings).fold
        tables.commit(manifest)
        folds = {"video_manifest": manifest}
        for upstream, name, stage in (
            (VIDEO_MANIFEST, "clips", build_clips),
            (CLIPS, "frames", build_frames),
            (FRAMES, "embeddings", build_embeddings),
            (EMBEDDINGS, "vector_index", build_index),
        ):
            folds[name] = stage(DAY, partial(tables.read, upstream, DAY), tables=tables, **silent)
            tables.commit(folds[name])
        return folds

    def keys(self, prefix: str) -> list[str]:
        return [info.key for info in self.tables.store.list(prefix)]


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    for key in ("front/083000.mp4", "rear/083000.mp4"):
        path = tmp_path / "uploads/veh-7/2026-01-03" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        make_video(path, frames=60 if "front" in key else 45)
        os.utime(path, (time.time() - 3600,) * 2)
    return Chain(tmp_path)


def test_reference_mode_leaves_clips_where_they_are(chain: Chain) -> None:
    folds = chain.run(clips_mode="reference")
    for row in folds["clips"].rows.to_pylist():
        assert row["clip_uri"] == row["video_path"]
        assert row["status"] == "ok"
    assert not [key for key in chain.keys("clips/") if "/blobs/" in key]
    assert folds["frames"].count("ok") > 0


def test_a_copied_clip_has_the_bytes_and_the_checksum_of_its_source(chain: Chain) -> None:
    import hashlib

    for row in chain.run()["clips"].rows.to_pylist():
        source = Path(row["video_path"].removeprefix("file://"))
        copy = Path(row["clip_uri"].removeprefix("file://"))
        assert copy.read_bytes() == source.read_bytes()
        assert row["checksum"] == "sha256:" + hashlib.sha256(source.read_bytes()).hexdigest()
        assert (row["width"], row["height"], row["codec"]) == (96, 64, "h264")


def test_a_shard_holds_each_image_where_its_row_says(chain: Chain) -> None:
    rows = chain.run()["frames"].rows.to_pylist()
    by_url: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_url.setdefault(row["image_url"], []).append(row)
    assert len(by_url) == 2
    for url, members in by_url.items():
        with tarfile.open(url.removeprefix("file://")) as tar:
            assert tar.getnames() == [f"{row['image_id']}.jpg" for row in members]
            for row in members:
                member = tar.extractfile(f"{row['image_id']}.jpg")
                assert member is not None
                assert member.read() == read_image_bytes(row)


def test_files_packing_makes_an_object_of_each_frame_with_the_same_pixels(chain: Chain) -> None:
    packed = {r["frame_idx"]: read_image_bytes(r) for r in chain.run()["frames"].rows.to_pylist()}
    rows = chain.run(frames_packing="files")["frames"].rows.to_pylist()
    assert all(row["image_offset"] is None for row in rows)
    assert len({row["image_url"] for row in rows}) == len(rows)
    assert {r["frame_idx"]: read_image_bytes(r) for r in rows} == packed


def test_a_change_of_sampling_replaces_rows_and_points(chain: Chain) -> None:
    first = chain.run(frames_sampling="every_s=1")
    second = chain.run(frames_sampling="keyframes")
    ids = [{row["image_id"] for row in folds["frames"].rows.to_pylist()} for folds in (first, second)]
    assert not ids[0] & ids[1]
    assert second["vector_index"].rows["points"].to_pylist() == [len(ids[1])]
    back = chain.run(frames_sampling="every_s=1")
    assert [fold.made for name, fold in back.items() if name in ("clips", "frames", "embeddings")] == [0, 0, 0]
    assert back["frames"].rows.equals(first["frames"].rows)


def test_png_and_a_longest_side(chain: Chain) -> None:
    from PIL import Image

    rows = chain.run(frames_format="png", frames_longest_side=48)["frames"].rows.to_pylist()
    with Image.open(io.BytesIO(read_image_bytes(rows[0]))) as image:
        assert (image.format, image.size) == ("PNG", (48, 32))
    assert (rows[0]["width"], rows[0]["height"], rows[0]["image_format"]) == (48, 32, "png")


def test_a_second_model_embeds_without_touching_the_first(chain: Chain, tmp_path: Path) -> None:
    write_tiny_clip(tmp_path / "models")
    chain.run()
    vectors = {key: chain.tables.store.head(key).etag for key in chain.keys("embeddings/") if "/items/" in key}
    both = chain.run(embed_models=("mobilenet_v2", "clip-vit-b-32"), model_cache=tmp_path / "models")
    assert both["embeddings"].made == 2, "one item for each clip, of the new model only"
    assert {key: chain.tables.store.head(key).etag for key in vectors} == vectors
    points = {row["model"]: (row["points"], row["vectors"]) for row in both["vector_index"].rows.to_pylist()}
    frames = both["frames"].count("ok")
    assert points == {"mobilenet_v2": (frames, frames), "clip-vit-b-32": (frames, frames)}


def test_a_lost_index_is_rebuilt_without_embedding(chain: Chain) -> None:
    first = chain.run()
    shutil.rmtree(chain.root / "index")
    again = chain.run()
    assert again["embeddings"].made == 0
    assert again["vector_index"].made == first["vector_index"].made > 0
    assert again["vector_index"].rows.equals(first["vector_index"].rows)


def test_points_carry_what_a_search_shows_and_filters_by(chain: Chain) -> None:
    folds = chain.run()
    row, vector = next(iter(read_vectors(folds["embeddings"].rows)))
    index = open_vector_index(str(chain.root / "index"))
    where = PointFilter(vehicle="veh-7", date="2026-01-03", camera=row["camera"])
    (hit,) = index.query("mobilenet_v2", vector, limit=1, where=where)
    index.close()
    assert hit.score == pytest.approx(1, abs=1e-5)
    for name in ("image_id", "clip_id", "video_path", "camera", "frame_idx", "image_url", "image_offset", "model"):
        assert hit.payload[name] == row[name], name
    assert hit.payload["captured_at"] == round(row["captured_at"].timestamp() * 1_000_000)


def test_a_damaged_clip_keeps_its_good_frames_and_says_what_is_missing(chain: Chain) -> None:
    video = chain.root / "uploads/veh-7/2026-01-03/front/083000.mkv"
    make_video(video, frames=150, gop=10)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    os.utime(video, (time.time() - 3600,) * 2)
    rows = [r for r in chain.run()["frames"].rows.to_pylist() if r["video_path"].endswith(".mkv")]
    assert rows[0]["status"] == "ok"
    assert rows[-1]["status"] == "failed"
    assert "early" in rows[-1]["error_msg"]
    assert rows[-1]["image_id"] is None


def test_times_of_frames_are_exact_and_utc(chain: Chain) -> None:
    from datetime import UTC, datetime, timedelta
    from fractions import Fraction

    start = datetime(2026, 1, 3, 8, 30, tzinfo=UTC)
    rows = chain.run(frames_sampling="fps=3")["frames"].rows.to_pylist()
    for row in rows:
        first = next(r for r in rows if r["clip_id"] == row["clip_id"])
        exact = (row["pts"] - first["pts"]) * Fraction(row["time_base_num"], row["time_base_den"])
        assert row["pts_s"] == float(exact)
        assert row["captured_at"] == start + timedelta(microseconds=round(exact * 1_000_000))


def test_every_table_holds_only_its_columns(chain: Chain) -> None:
    folds = chain.run()
    assert folds["frames"].rows.schema.equals(FRAMES.schema)
    assert folds["embeddings"].rows.schema.equals(EMBEDDINGS.schema)

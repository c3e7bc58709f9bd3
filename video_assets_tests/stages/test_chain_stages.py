"""The stages without Dagster: modes, packings, models side by side, an index lost and rebuilt."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.clips import build_clips
from video_assets.stages.embeddings import Place, build_embeddings, read_vectors
from video_assets.stages.frames import build_frames
from video_assets.stages.images import read_image_bytes
from video_assets.stages.manifest import build_manifest
from video_assets.stages.vector_index import build_index
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, VIDEO_MANIFEST
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.vector_index import PointFilter
from video_assets.video.scenes import SceneDetectionUnavailable
from video_assets_tests.embedding.tiny_clip import write_tiny_clip
from video_assets_tests.video.make_video import make_video

DAY = Partition("2026-01-03", "veh-7")
PLACES = {"source": "uploads", "store": "store", "index": "index"}


@dataclass(frozen=True)
class Chain:
    """A store and a source, and the stages over one partition."""

    root: Path

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(str(self.root / "store"), create=True))

    def settings(self, **changes: Any) -> Settings:
        places = {name: str(self.root / folder) for name, folder in PLACES.items()}
        return Settings(**{**places, "workers": 1, **changes})

    def run(self, **changes: Any) -> dict[str, Fold]:
        settings = self.settings(**changes)
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


def test_a_run_says_how_much_it_read_of_its_clips(chain: Chain) -> None:
    first, second = (chain.run(clips_mode="reference")["frames"] for _ in range(2))
    assert first.bytes_total == sum(path.stat().st_size for path in chain.root.glob("uploads/**/*.mp4"))
    assert 0 < first.bytes_read <= first.bytes_total
    assert (second.made, second.bytes_read, second.bytes_total) == (0, 0, 0)


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
    row = folds["embeddings"].rows.to_pylist()[0]
    ((_, vector),) = read_vectors({"first": Place(row["vectors_uri"], row["vector_row"])})
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
    start = datetime(2026, 1, 3, 8, 30, tzinfo=UTC)
    rows = chain.run(frames_sampling="fps=3")["frames"].rows.to_pylist()
    for row in rows:
        first = next(r for r in rows if r["clip_id"] == row["clip_id"])
        exact = (row["pts"] - first["pts"]) * Fraction(row["time_base_num"], row["time_base_den"])
        assert row["pts_s"] == float(exact)
        assert row["captured_at"] == start + timedelta(microseconds=round(exact * 1_000_000))


def test_a_clock_that_starts_late_does_not_move_utc_times(chain: Chain) -> None:
    upload(chain, "late/083000.mkv", pts=range(3000, 3060), bframes=2)
    rows = chain.run(frames_sampling="count=4")["frames"].rows.to_pylist()
    late = [row for row in rows if row["camera"] == "late"]
    start = datetime(2026, 1, 3, 8, 30, tzinfo=UTC)
    assert [Fraction(row["pts"] * row["time_base_num"], row["time_base_den"]) for row in late] == [
        100,
        100.5,
        101,
        101.5,
    ]
    assert [row["captured_at"] for row in late] == [start + timedelta(seconds=n / 2) for n in range(4)]


def frames_of(chain: Chain, sampling: str) -> Fold:
    read = partial(chain.tables.read, CLIPS, DAY)
    settings = chain.settings(frames_sampling=sampling)
    return build_frames(DAY, read, tables=chain.tables, settings=settings, report=lambda line: None)


def test_each_way_of_sampling_is_a_version_of_its_own(chain: Chain) -> None:
    chain.run()
    folds = [frames_of(chain, form) for form in ("every_s=1", "count=2", "keyframes", "scene")]
    assert len({fold.rows["image_id"][0].as_py() for fold in folds}) == 4
    assert [fold.count("ok") for fold in folds] == [4, 4, 9, 2]
    assert frames_of(chain, "count=02").made == 0


def test_scenes_without_their_extra_stop_the_stage_before_any_clip(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.run()
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    before = chain.keys("frames/")
    with pytest.raises(SceneDetectionUnavailable, match="pip install"):
        frames_of(chain, "scene")
    assert chain.keys("frames/") == before


def test_every_table_holds_only_its_columns(chain: Chain) -> None:
    folds = chain.run()
    assert folds["frames"].rows.schema.equals(FRAMES.schema)
    assert folds["embeddings"].rows.schema.equals(EMBEDDINGS.schema)


def upload(chain: Chain, key: str, **options: Any) -> Path:
    path = chain.root / "uploads/veh-7/2026-01-03" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    make_video(path, **options)
    os.utime(path, (time.time() - 3600,) * 2)
    return path


def test_bug_reference_mode_decoded_whatever_version_was_there(chain: Chain) -> None:
    settings, tables = chain.settings(clips_mode="reference"), chain.tables
    quiet: dict[str, Any] = {"tables": tables, "settings": settings, "report": lambda line: None}
    tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)
    tables.commit(build_clips(DAY, partial(tables.read, VIDEO_MANIFEST, DAY), **quiet))
    upload(chain, "front/083000.mp4", frames=90)
    rows = build_frames(DAY, partial(tables.read, CLIPS, DAY), **quiet).rows.to_pylist()
    front = [row for row in rows if row["camera"] == "front"]
    assert [(row["status"], row["error_stage"]) for row in front] == [("failed", "source")]


def test_bug_a_run_that_waited_built_on_what_it_had_read_before(chain: Chain) -> None:
    settings, tables = chain.settings(), chain.tables
    tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)
    made: list[Fold] = []

    def waiting_run() -> None:
        read = partial(tables.read, VIDEO_MANIFEST, DAY)
        made.append(build_clips(DAY, read, tables=tables, settings=settings, report=lambda line: None))

    with tables.writer(CLIPS, DAY):
        thread = threading.Thread(target=waiting_run)
        thread.start()
        upload(chain, "side/083000.mp4")
        tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)
    thread.join()
    assert {row["camera"] for row in made[0].rows.to_pylist()} == {"front", "rear", "side"}


def test_bug_another_source_folder_erased_rows_and_points(chain: Chain, tmp_path: Path) -> None:
    before = chain.run()
    (tmp_path / "elsewhere").mkdir()
    after = chain.run(source=str(tmp_path / "elsewhere"))
    assert {name: fold.rows.num_rows for name, fold in after.items()} == {
        name: fold.rows.num_rows for name, fold in before.items()
    }
    assert after["vector_index"].rows["points"].to_pylist() == before["vector_index"].rows["points"].to_pylist()


def test_bug_a_template_that_no_longer_matches_erased_rows(chain: Chain) -> None:
    before = chain.run()
    after = chain.run(path_template="new/{vehicle}/{date:%Y-%m-%d}/{start:%H%M%S}{ext}")
    assert after["video_manifest"].rows.equals(before["video_manifest"].rows)


def test_bug_an_overwritten_upload_vanished_while_it_settled(chain: Chain) -> None:
    before = chain.run()
    video = upload(chain, "front/083000.mp4", frames=90)
    os.utime(video)
    during = chain.run()
    assert during["video_manifest"].rows.equals(before["video_manifest"].rows)
    os.utime(video, (time.time() - 3600,) * 2)
    assert not chain.run()["video_manifest"].rows.equals(before["video_manifest"].rows)


def test_bug_a_corrected_time_zone_never_reached_the_frames(chain: Chain) -> None:
    first = chain.run(path_timezone="UTC", timezone="UTC")
    second = chain.run(path_timezone="Europe/Berlin", timezone="UTC")
    assert [second[name].made for name in ("clips", "frames", "embeddings")] == [0, 0, 0]
    for table in ("frames", "embeddings"):
        pairs = zip(first[table].rows.to_pylist(), second[table].rows.to_pylist(), strict=True)
        assert {one["captured_at"] - other["captured_at"] for one, other in pairs} == {timedelta(hours=1)}
    assert second["vector_index"].made == second["embeddings"].count("ok"), "payloads were written again"


def test_bug_an_upload_gone_with_its_folder_blocked_its_partition(chain: Chain) -> None:
    settings, tables = chain.settings(), chain.tables
    tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)
    shutil.rmtree(chain.root / "uploads/veh-7/2026-01-03/rear")
    read = partial(tables.read, VIDEO_MANIFEST, DAY)
    rows = build_clips(DAY, read, tables=tables, settings=settings, report=lambda line: None).rows.to_pylist()
    assert {row["camera"]: row["status"] for row in rows} == {"front": "ok", "rear": "failed"}


def test_bug_an_upload_that_came_back_stayed_failed(chain: Chain) -> None:
    settings, tables = chain.settings(max_attempts=2), chain.tables
    tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)
    video = chain.root / "uploads/veh-7/2026-01-03/rear/083000.mp4"
    aside = video.rename(chain.root / "aside.mp4")
    read = partial(tables.read, VIDEO_MANIFEST, DAY)
    for _ in range(4):
        fold = build_clips(DAY, read, tables=tables, settings=settings, report=lambda line: None)
        assert fold.count("failed") == 1
    aside.rename(video)
    assert build_clips(DAY, read, tables=tables, settings=settings, report=lambda line: None).count("failed") == 0


def test_bug_vectors_of_new_code_never_reached_the_index(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    first = chain.run()
    monkeypatch.setattr("video_assets.stages.embeddings.CODE_VERSION", "next")
    second = chain.run()
    assert second["vector_index"].made == first["embeddings"].count("ok")
    assert second["vector_index"].rows["points_fingerprint"] != first["vector_index"].rows["points_fingerprint"]


def test_bug_points_of_a_model_taken_out_of_the_settings_stayed(chain: Chain, tmp_path: Path) -> None:
    write_tiny_clip(tmp_path / "models")
    chain.run(embed_models=("mobilenet_v2", "clip-vit-b-32"), model_cache=tmp_path / "models")
    after = chain.run()
    points = {row["model"]: row["points"] for row in after["vector_index"].rows.to_pylist()}
    assert points == {"mobilenet_v2": after["embeddings"].count("ok"), "clip-vit-b-32": 0}


def test_bug_a_moved_store_pointed_at_its_old_place(chain: Chain, tmp_path: Path) -> None:
    before = chain.run()
    moved = Chain(tmp_path / "moved")
    moved.root.mkdir()
    (chain.root / "store").rename(moved.root / "store")
    shutil.copytree(chain.root / "index", moved.root / "index")
    after = moved.run(source=str(chain.root / "uploads"))
    assert [after[name].made for name in ("clips", "frames", "embeddings")] == [0, 0, 0]
    assert all(read_image_bytes(row) for row in after["frames"].rows.to_pylist())
    rows = after["embeddings"].rows.to_pylist()
    places = {row["image_id"]: Place(row["vectors_uri"], row["vector_row"]) for row in rows}
    assert len(list(read_vectors(places))) == before["embeddings"].count("ok")


def test_two_ways_to_write_a_sampling_are_one(chain: Chain) -> None:
    chain.run(frames_sampling="every_s=0.5")
    assert chain.run(frames_sampling="fps=2")["frames"].made == 0


def items_of(chain: Chain, table: str, kind: str) -> list[Path]:
    return [Path(chain.root, "store", key) for key in chain.keys(f"{table}/") if f"/{kind}/" in key]


@pytest.mark.parametrize("table", ["clips", "frames", "embeddings"])
def test_bug_a_damaged_record_stopped_its_partition_for_good(chain: Chain, table: str) -> None:
    before = chain.run()
    record = items_of(chain, table, "items")[0]
    record.write_bytes(record.read_bytes()[:40])
    after = chain.run()
    assert after[table].made == 1
    assert after[table].data_version == before[table].data_version


@pytest.mark.parametrize("table", ["clips", "frames"])
def test_bug_blobs_that_were_taken_away_were_never_made_again(chain: Chain, table: str) -> None:
    before = chain.run()
    blob = items_of(chain, table, "blobs")[0]
    kept = blob.read_bytes()
    blob.unlink()
    after = chain.run()
    assert after[table].made == 1
    assert blob.read_bytes() == kept
    assert after[table].data_version == before[table].data_version


def test_bug_a_damaged_index_table_broke_its_partition(chain: Chain) -> None:
    chain.run()
    (chain.root / "store/vector_index" / DAY.path / "data.parquet").write_text("garbage")
    assert chain.run()["vector_index"].rows["points"].to_pylist()[0] > 0


def test_bug_what_is_no_video_was_copied_into_the_store(chain: Chain, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for the fleet")
    os.utime(secret, (time.time() - 3600,) * 2)
    (chain.root / "uploads/veh-7/2026-01-03/front/090000.mp4").symlink_to(secret)
    row = next(r for r in chain.run()["clips"].rows.to_pylist() if r["video_path"].endswith("090000.mp4"))
    assert (row["status"], row["clip_uri"]) == ("failed", None)
    assert all(b"not for the fleet" not in path.read_bytes() for path in items_of(chain, "clips", "blobs"))


def test_bug_absurd_times_failed_the_whole_partition(chain: Chain) -> None:
    pts = [0, 2**40, 2**41]
    upload(chain, "front/090000.mkv", frames=3, pts=pts, time_base=Fraction(1, 1000))
    rows = [row for row in chain.run()["frames"].rows.to_pylist() if row["video_path"].endswith(".mkv")]
    assert rows
    assert any(row["status"] == "ok" for row in chain.run()["frames"].rows.to_pylist())

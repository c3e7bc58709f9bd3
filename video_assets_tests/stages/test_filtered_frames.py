"""Filtered frames through the stages: counted rows without an image, which no later stage takes for pictures."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.stages.clips import build_clips
from video_assets.stages.counts import failed_share, lost_items, lost_vectors
from video_assets.stages.fleet_daily import roll_up
from video_assets.stages.frames import build_frames, draw_contact_sheet
from video_assets.stages.images import read_image_bytes
from video_assets.stages.manifest import build_manifest
from video_assets.stages.status import chain_status
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, VIDEO_MANIFEST
from video_assets.video import contact_sheet
from video_assets_tests.stages.test_chain_stages import DAY, Chain
from video_assets_tests.video.make_video import make_video
from video_assets_tests.video.test_frame_filters import damaged_video, scenes

STRICT = {"frames_min_sharpness": 20, "frames_min_brightness": 30, "frames_min_phash_distance": 8}
REASONS = [None, "near_duplicate", "dark", "blurred", "near_duplicate", None]


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    path = upload(tmp_path, "front/083000.mp4")
    make_video(path, frames=30, fps=5, gop=5, size=(320, 192), picture=scenes, options={"crf": "18"})
    os.utime(path, (time.time() - 3600,) * 2)
    return Chain(tmp_path)


def upload(root: Path, key: str) -> Path:
    path = root / "uploads/veh-7/2026-01-03" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def frames_of(chain: Chain, **changes: Any) -> Fold:
    """The chain up to `frames`."""
    tables, settings = chain.tables, chain.settings(**changes)
    quiet: dict[str, Any] = {"tables": tables, "settings": settings, "report": lambda line: None}
    tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)
    tables.commit(build_clips(DAY, partial(tables.read, VIDEO_MANIFEST, DAY), **quiet))
    fold = build_frames(DAY, partial(tables.read, CLIPS, DAY), **quiet)
    tables.commit(fold)
    return fold


def test_filtered_frames_are_rows_that_no_later_stage_takes_for_pictures(chain: Chain) -> None:
    folds = chain.run(**STRICT)
    frames = folds["frames"]
    rows = frames.rows.to_pylist()
    assert [row["error_stage"] for row in rows] == REASONS
    assert frames.counts == {"ok": 2, "failed": 0, "filtered": 4}
    assert [row["frame_idx"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert len({row["image_id"] for row in rows}) == 6
    for row in rows:
        assert (row["status"] == "filtered") == (row["image_url"] is None) == (row["error_msg"] is not None)
        assert row["captured_at"] is not None
        assert None not in (row["sharpness"], row["brightness"], row["phash"], row["pts"], row["pts_s"])
    assert [row["phash_distance"] is None for row in rows] == [True] + [False] * 5
    assert all(read_image_bytes(row) for row in rows if row["status"] == "ok")
    kept = {row["image_id"] for row in rows if row["status"] == "ok"}
    assert {row["image_id"] for row in folds["embeddings"].rows.to_pylist()} == kept
    assert folds["vector_index"].rows["points"].to_pylist() == [2]
    assert lost_items(frames) == lost_items(folds["embeddings"]) == (set(), set())
    assert not lost_vectors(folds["embeddings"], ["mobilenet_v2"])
    assert draw_contact_sheet({frames.partition: frames.rows}) is not None
    (day,) = roll_up(Partition(DAY.date), tables=chain.tables).rows.to_pylist()
    assert (day["frames"], day["embeddings"], day["filtered"], day["failed"]) == (2, 2, 4, 0)
    stages, failures = chain_status(chain.tables)
    assert {stage.stage: stage.filtered for stage in stages}["frames"] == 4
    assert not failures


def test_a_changed_threshold_makes_exactly_the_frames_again(chain: Chain) -> None:
    plain = frames_of(chain)
    assert plain.counts == {"ok": 6, "failed": 0, "filtered": 0}
    for name, value in {**STRICT, "frames_damaged": "filter", "frames_crop": "auto"}.items():
        assert frames_of(chain, **{name: value}).made == 1, name
    assert frames_of(chain, **STRICT).made == 1
    assert frames_of(chain, **STRICT).made == 0
    assert frames_of(chain, **{**STRICT, "frames_min_brightness": 31}).made == 1
    again = frames_of(chain)
    assert again.made == 0
    assert again.rows.equals(plain.rows)


@pytest.mark.parametrize("packing", ["shards", "files"])
def test_a_clip_of_which_nothing_is_kept_has_rows_and_no_blob(chain: Chain, packing: str) -> None:
    fold = frames_of(chain, frames_min_brightness=255, frames_packing=packing)
    assert fold.counts == {"ok": 0, "failed": 0, "filtered": 6}
    assert not [key for key in chain.keys("frames/") if "/blobs/" in key]
    assert draw_contact_sheet({fold.partition: fold.rows}) is None
    assert frames_of(chain, frames_min_brightness=255, frames_packing=packing).made == 0


def test_packings_agree_on_what_is_kept(chain: Chain) -> None:
    images = []
    for packing in ("shards", "files"):
        rows = frames_of(chain, **STRICT, frames_packing=packing).rows.to_pylist()
        images.append([read_image_bytes(row) if row["image_url"] else row["error_stage"] for row in rows])
    assert images[0] == images[1]


@pytest.fixture
def glitch(tmp_path: Path) -> Chain:
    path = upload(tmp_path, "front/083000.mp4")
    path.write_bytes(damaged_video(tmp_path, 30))
    os.utime(path, (time.time() - 3600,) * 2)
    return Chain(tmp_path)


def test_frames_with_concealed_errors_fail_or_are_filtered(glitch: Chain) -> None:
    sampling = {"frames_sampling": "fps=2"}
    failing = frames_of(glitch, **sampling)
    assert [row["status"] for row in failing.rows.to_pylist()] == ["ok", "ok", "failed", "ok", "failed"]
    assert failing.rows["decode_errors"].to_pylist() == [None, None, None, None, 1]
    assert failed_share(failing.table, failing.rows) == (1, 1)
    living = frames_of(glitch, **sampling, frames_damaged="filter")
    rows = living.rows.to_pylist()
    assert [row["status"] for row in rows] == ["ok", "ok", "filtered", "ok", "filtered"]
    assert [row["error_stage"] for row in rows] == [None, None, "damaged", None, "damaged"]
    assert failed_share(living.table, living.rows) == (0, 1)
    assert rows[2]["image_url"] is None
    assert rows[4]["image_id"] is None, "the clip's own row says what the decoder met"
    assert "decoded with errors" in rows[4]["error_msg"]


def test_a_video_cut_short_fails_whatever_becomes_of_damaged_frames(tmp_path: Path) -> None:
    path = upload(tmp_path, "front/083000.mkv")
    make_video(path, frames=150, gop=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    os.utime(path, (time.time() - 3600,) * 2)
    rows = frames_of(Chain(tmp_path), frames_damaged="filter").rows.to_pylist()
    assert rows[-1]["status"] == "failed"
    assert "early" in rows[-1]["error_msg"]


def test_a_crop_is_in_the_rows_and_the_images(chain: Chain) -> None:
    rows = frames_of(chain, frames_crop="11,20,160,90").rows.to_pylist()
    for row in rows:
        assert tuple(row[f"crop_{side}"] for side in ("x", "y", "width", "height")) == (11, 20, 160, 90)
        assert (row["width"], row["height"]) == (160, 90)
    whole = frames_of(chain, frames_crop="auto").rows.to_pylist()
    assert {row["crop_width"] for row in whole} == {None}, "there are no bars"
    assert {(row["width"], row["height"]) for row in whole} == {(320, 192)}


def test_a_crop_outside_the_picture_is_a_failed_row(chain: Chain) -> None:
    (row,) = frames_of(chain, frames_crop="0,0,320,200").rows.to_pylist()
    assert (row["status"], row["error_stage"]) == ("failed", "crop")
    for said in ("0,0,320,200", "320 × 192", "VIDEO_ASSETS_FRAMES_CROP"):
        assert said in row["error_msg"]


def test_distances_are_those_of_the_hashes_in_the_rows(chain: Chain) -> None:
    fold = frames_of(chain, frames_sampling="fps=2")
    hashes = fold.rows["phash"].to_pylist()
    assert all(len(text) == 16 and int(text, 16) < 2**64 for text in hashes)
    distances = fold.rows["phash_distance"].to_pylist()
    for before, after, distance in zip(hashes[:-1], hashes[1:], distances[1:], strict=True):
        assert (int(before, 16) ^ int(after, 16)).bit_count() == distance


def test_a_sheet_of_several_vehicles_and_days_names_them(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = frames_of(chain).rows
    labels: list[str] = []
    monkeypatch.setattr(contact_sheet, "contact_sheet", lambda images: labels.extend(label for label, _ in images))
    draw_contact_sheet({DAY: rows})
    assert labels[0] == "front 08:30:00.0"
    draw_contact_sheet({DAY: rows, Partition("2026-01-04", "veh-8"): rows})
    assert {label.partition("\n")[0] for label in labels[6:]} == {"veh-7 2026-01-03", "veh-8 2026-01-04"}

"""Hundreds of damaged uploads of every container in one partition: each ends as rows that add up and say why."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from video_assets.stages.counts import lost_items
from video_assets.stages.images import read_image_bytes
from video_assets.video.image import decode_image
from video_assets_tests.stages.uploads import Uploads
from video_assets_tests.video.damage import damage
from video_assets_tests.video.made_videos import TO_DAMAGE, made_video

SAMPLING = {"frames_sampling": "every_s=0.1", "item_timeout_s": 60}


def put_damaged(uploads: Uploads, folder: Path, count: int) -> None:
    """Uploads with 9 kinds of damage to videos in 6 kinds of container, one of each pair after the other."""
    made = {name: made_video(name, folder).read_bytes() for name in TO_DAMAGE}
    for seed in range(count):
        name = list(made)[seed % len(made)]
        suffix = Path(name).suffix
        other = made[next(alike for alike in [*reversed(made), name] if alike.endswith(suffix))]
        way, data = damage(made[name], other, suffix.removeprefix("."), seed)
        camera = f"{name.replace('.', '-')}-{way}"
        # Nothing is left of a file that is cut at its first byte, and empty uploads are not made into clips.
        uploads.put(camera, data or b"\0", suffix, f"{seed // 3600:02}{seed // 60 % 60:02}{seed % 60:02}")


@pytest.mark.parametrize("count", [90, pytest.param(900, marks=pytest.mark.slow)])
def test_damaged_uploads_cost_their_own_rows_only(count: int, tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    put_damaged(uploads, tmp_path, count)
    assert len(uploads.manifest().fold.rows) == count
    clips = uploads.clips(**SAMPLING)
    frames = uploads.frames(**SAMPLING)
    assert lost_items(clips) == lost_items(frames) == (set(), set())
    assert (clips.made, frames.made) == (count, clips.count("ok"))
    assert (uploads.clips(**SAMPLING).made, uploads.frames(**SAMPLING).made) == (0, 0), "damage is not tried again"

    by_clip: dict[str, list[dict[str, Any]]] = {}
    for row in frames.rows.to_pylist():
        by_clip.setdefault(row["clip_id"], []).append(row)
    ends: Counter[str] = Counter()
    for clip in clips.rows.to_pylist():
        check_status(clip, {"probe"})
        if clip["status"] == "failed":
            assert clip["error_msg"].startswith(f"{clip['video_path']}: ")
        else:
            ends[check_frames(by_clip[clip["clip_id"]])] += 1
    assert min(ends["whole"], ends["part"]) > count // 9, "every end is among them"
    assert clips.count("failed") > count // 9


def check_status(row: dict[str, Any], stages: set[str]) -> None:
    """A row is ok, or says where it failed, of what, and why."""
    if row["status"] == "ok":
        assert (row["error_stage"], row["error_msg"]) == (None, None)
    else:
        assert (row["status"], row["attempts"]) == ("failed", 1)
        assert row["error_stage"] in stages, row["error_msg"]
        assert len(row["error_msg"]) > 10


def check_frames(rows: list[dict[str, Any]]) -> str:
    """The rows of one clip: frames in order, and at most one row that says what is missing. Returns how it ended."""
    frames = [row for row in rows if row["image_id"] is not None]
    for row in rows:
        check_status(row, {"decode", "encode"})
    missing = [row for row in rows if row["image_id"] is None]
    assert all(row["error_msg"].startswith(f"{row['video_path']}: ") for row in missing)
    assert len(missing) <= 1
    assert missing or frames

    assert [row["frame_idx"] for row in frames] == list(range(len(frames)))
    assert len({row["image_id"] for row in frames}) == len(frames)
    pts = [row["pts"] for row in frames]
    assert pts == sorted(set(pts)), "in order, and none twice"
    for row in frames:
        time_base = Fraction(row["time_base_num"], row["time_base_den"])
        # A first frame without an image is none: times count from the first one that is shown.
        assert row["pts_s"] - frames[0]["pts_s"] == pytest.approx(float((row["pts"] - pts[0]) * time_base), rel=1e-12)
        assert decode_image(read_image_bytes(row)).shape == (row["height"], row["width"], 3)
    if missing:
        return "part" if frames else "none"
    return "whole"

"""Frames held against the policy that made them: what rows tell, and what only the clip's own index tells."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from video_assets.stages.sampling_faults import sampling_faults
from video_assets.table_store.table_store import Fold
from video_assets_tests.stages.uploads import Uploads
from video_assets_tests.video.make_video import make_video

POLICIES = ["every_s=0.5", "every_s=1/3", "fps=2.5", "fps=60", "count=7", "count=1000", "keyframes"]


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Uploads:
    """An even clip, and one whose camera dropped frames: 1.5 s are missing in its middle."""
    uploads = Uploads(tmp_path_factory.mktemp("sampling"))
    path = uploads.root / "made.mp4"
    uploads.put("front", make_video(path, frames=90, gop=24, bframes=2).read_bytes(), ".mp4")
    times = [*range(30), *range(75, 120)]
    gap = make_video(path, frames=75, gop=12, pts=times, time_base=Fraction(1, 30))
    uploads.put("rear", gap.read_bytes(), ".mp4")
    uploads.manifest()
    uploads.clips()
    return uploads


@pytest.fixture(scope="module")
def folds(uploads: Uploads) -> dict[str, Fold]:
    return {policy: uploads.frames(frames_sampling=policy) for policy in POLICIES}


@pytest.mark.parametrize("policy", POLICIES)
def test_what_was_sampled_is_what_was_promised(folds: dict[str, Fold], policy: str) -> None:
    report = sampling_faults(upstream(folds[policy]), folds[policy].rows, policy)
    assert (report.clips, report.faults, report.untold) == (2, [], 0)
    if policy in ("every_s=0.5", "count=7", "every_s=1/3"):
        assert report.asked == 1, "of the clip with the gap"


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "fps=60"])
@pytest.mark.parametrize("camera", ["front", "rear"])
@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_frame_that_is_not_there_is_noticed(folds: dict[str, Fold], policy: str, camera: str, which: int) -> None:
    fold = folds[policy]
    mine = [row for row in fold.rows.to_pylist() if row["camera"] == camera]
    left = fold.rows.filter(pc.field("image_id") != mine[which]["image_id"])
    (fault,) = sampling_faults(upstream(fold), left, policy).faults
    assert f"/{camera}/083000.mp4" in fault
    if which != -1:
        assert f"frame number {which} has no row" in fault
    else:
        assert f"has no frame at pts {mine[-1]['pts']}" in fault


def test_frames_of_another_policy_are_noticed(folds: dict[str, Fold]) -> None:
    for policy, other in (
        ("every_s=0.5", "every_s=1"),
        ("every_s=0.5", "every_s=1/3"),
        ("fps=2.5", "fps=2"),
        ("count=7", "count=5"),
        ("count=7", "count=9"),
        ("keyframes", "every_s=0.5"),
    ):
        faults = sampling_faults(upstream(folds[policy]), folds[policy].rows, other).faults
        assert any("/front/" in fault for fault in faults)


def test_times_that_do_not_rise_are_noticed(folds: dict[str, Fold]) -> None:
    rows = folds["every_s=0.5"].rows.to_pylist()
    rows[1]["pts"], rows[2]["pts"] = rows[2]["pts"], rows[1]["pts"]
    changed = pa.Table.from_pylist(rows, folds["every_s=0.5"].rows.schema)
    (fault,) = sampling_faults(upstream(folds["every_s=0.5"]), changed, "every_s=0.5").faults
    assert "its frames' times do not rise" in fault


def test_a_damaged_clip_is_not_compared_and_a_clip_that_is_gone_is_told_by_others(
    folds: dict[str, Fold], uploads: Uploads
) -> None:
    rows = folds["every_s=0.5"].rows.to_pylist()
    failed: dict[str, Any] = {**rows[0], "status": "failed", "image_id": None, "frame_idx": None}
    damaged = pa.Table.from_pylist([*rows[1:], failed], folds["every_s=0.5"].rows.schema)
    report = sampling_faults(upstream(folds["every_s=0.5"]), damaged, "every_s=0.5")
    assert (report.clips, report.faults) == (1, [])
    clips = upstream(folds["every_s=0.5"]).to_pylist()
    away = [{**clip, "clip_uri": clip["clip_uri"] + ".gone"} for clip in clips]
    report = sampling_faults(
        pa.Table.from_pylist(away, upstream(folds["every_s=0.5"]).schema), folds["every_s=0.5"].rows, "every_s=0.5"
    )
    assert (report.clips, report.faults, report.untold) == (2, [], 1)


def upstream(fold: Fold) -> pa.Table:
    assert fold.upstream is not None
    return fold.upstream

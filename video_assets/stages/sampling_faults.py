"""Whether a clip's frames are those that the sampling policy promises, as far as its rows tell.

Rows of `frames` tell times and numbers; a row of `clips` tells how many frames the clip has and how long it is. With
even times between frames that gives the number of samples. Where there are fewer, the clip's own index, which is read
without decoding, has the last word: a camera that dropped frames keeps its promise too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pyarrow as pa

from video_assets.storage.object_store import StoreError
from video_assets.storage.registry import open_store, split_uri
from video_assets.tables import FAILED, OK
from video_assets.video.errors import MediaError
from video_assets.video.sampling import EverySeconds, Keyframes, SamplingPolicy, Scenes, UniformCount, parse_policy

MAX_ASKED = 20
"""Clips of a partition whose index is read."""

Row = Mapping[str, Any]

_COLUMNS = ("clip_id", "image_id", "frame_idx", "pts", "time_base_num", "time_base_den", "status", "error_stage")


@dataclass
class SamplingReport:
    """What was found. `faults` are sentences that name the clip.

    `clips` were compared; `asked` of them by their own index; of `untold` clips only the order of frames is known to be
    right. Damaged clips are not compared: their rows say what is missing.
    """

    clips: int = 0
    asked: int = 0
    untold: int = 0
    faults: list[str] = field(default_factory=list)


def sampling_faults(clips: pa.Table, frames: pa.Table, sampling: str) -> SamplingReport:
    """Compares the frames of each ok clip with the policy that they were sampled by, as settings write it."""
    policy, report = parse_policy(sampling), SamplingReport()
    by_clip: dict[str, list[Row]] = {}
    for row in frames.select(list(_COLUMNS)).to_pylist():
        by_clip.setdefault(row["clip_id"], []).append(row)
    for clip in clips.to_pylist():
        rows = by_clip.get(clip["clip_id"], [])
        if clip["status"] != OK or not rows or any(_is_damaged(row) for row in rows):
            continue
        report.clips += 1
        samples = sorted(rows, key=lambda row: int(row["frame_idx"]))
        fault = _fault_of_rows(samples, policy) or _fault_of_count(clip, samples, policy, report)
        if fault:
            report.faults.append(f"{clip['video_path']} (clip {clip['clip_id']}): {fault}")
    return report


def _is_damaged(row: Row) -> bool:
    return row["status"] == FAILED or row["image_id"] is None or row["error_stage"] == "damaged"


def _fault_of_rows(samples: list[Row], policy: SamplingPolicy) -> str:
    """What the rows alone show to be wrong: their numbers, their times, two frames for one sample."""
    if [row["frame_idx"] for row in samples] != list(range(len(samples))):
        missing = min({*range(len(samples))} - {row["frame_idx"] for row in samples})
        return f"frame number {missing} has no row"
    times = [row["pts"] * Fraction(row["time_base_num"], row["time_base_den"]) for row in samples]
    if any(later <= earlier for earlier, later in pairwise(times)):
        return "its frames' times do not rise"
    if isinstance(policy, EverySeconds):
        steps = [(time - times[0]) // policy.delta for time in times]
        if len(set(steps)) < len(steps):
            return f"two frames stand for one sample of {float(policy.delta):g} s"
    if isinstance(policy, UniformCount) and len(samples) > policy.count:
        return f"has {len(samples)} frames of at most {policy.count}"
    return ""


def _fault_of_count(clip: Row, samples: list[Row], policy: SamplingPolicy, report: SamplingReport) -> str:
    expected = _with_even_times(clip, policy)
    if expected is not None and len(samples) >= expected:
        return ""
    if isinstance(policy, Scenes) or report.asked >= MAX_ASKED or (promised := _promised(clip, policy)) is None:
        report.untold += 1
        return ""
    report.asked += 1
    found = {row["pts"] for row in samples}
    if found == promised:
        return ""
    lost, more = sorted(promised - found), sorted(found - promised)
    return " and ".join(
        part
        for part in (
            f"has no frame at pts {lost[0]}, one of {len(lost)} that the policy promises" if lost else "",
            f"has a frame at pts {more[0]}, one of {len(more)} that the policy does not take" if more else "",
        )
        if part
    )


def _with_even_times(clip: Row, policy: SamplingPolicy) -> int | None:
    """How many samples a clip with even times has; None where that cannot be told."""
    frames, rate = clip["frame_count"], clip["average_rate"]
    if not frames or isinstance(policy, Keyframes):
        return None
    if isinstance(policy, UniformCount):
        return min(policy.count, int(frames))
    if isinstance(policy, EverySeconds) and rate:
        step = Fraction(rate).limit_denominator(1_000_000) * policy.delta
        return int(frames) if step <= 1 else int((frames - 1) // step) + 1
    return None


def _promised(clip: Row, policy: SamplingPolicy) -> set[int] | None:
    """The presentation times that the policy takes of the clip, by its index; None where that does not tell."""
    from video_assets.video.index import index_video
    from video_assets.video.plan import plan_decode

    etag = clip["source_etag"] if clip["clip_uri"] == clip["video_path"] else None
    try:
        root, key = split_uri(clip["clip_uri"])
        with open_store(root).open(key, etag=etag) as media:
            plan = plan_decode(index_video(media, label=clip["video_path"]), policy)
    except (StoreError, MediaError):
        # Of a blob that is gone, or cannot be read, other checks tell.
        return None
    return None if plan is None else set(plan.targets)

"""Sampled frames equal those of FFmpeg's own full decode: their times exactly, their pixels bit for bit."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.video import decode
from video_assets.video.clock import FrameClock
from video_assets.video.decode import SampledFrames
from video_assets.video.index import index_video
from video_assets.video.plan import DecodePlan, Step
from video_assets.video.sampling import EverySeconds, Keyframes, SamplingPolicy, UniformCount
from video_assets_tests.video.ffmpeg_oracle import (
    by_the_rule,
    evenly,
    key_times,
    needs_ffmpeg,
    pixel_md5,
    presented_frames,
    presented_length,
    run_ffmpeg,
)
from video_assets_tests.video.made_videos import MADE, SEQUENTIAL, made_video
from video_assets_tests.video.make_video import footage, make_video

DELTAS = [Fraction(1), Fraction(1, 2), Fraction(1, 7), Fraction(1001, 30000), Fraction(1, 1000)]
COUNTS = [1, 2, 7, 19, 59, 60, 1000]
EVERY_FRAME = EverySeconds(Fraction(1, 1_000_000))


def sampled(path: Path, policy: SamplingPolicy, *, planned: bool = True) -> list[tuple[Fraction, str]]:
    frames = SampledFrames(path, policy, planned=planned)
    return [(pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames]


@needs_ffmpeg
@pytest.mark.parametrize("name", MADE)
def test_samples_are_those_of_a_full_decode(name: str, videos: Path) -> None:
    path = made_video(name, videos)
    whole = presented_frames(path)
    assert sampled(path, EVERY_FRAME, planned=False) == whole
    for delta in DELTAS:
        assert sampled(path, EverySeconds(delta)) == by_the_rule(whole, delta), f"every {delta} s"


@needs_ffmpeg
@pytest.mark.parametrize("name", MADE)
def test_a_count_is_spread_evenly_over_a_full_decode(name: str, videos: Path) -> None:
    path = made_video(name, videos)
    whole, length = presented_frames(path), presented_length(path)
    if name == "h264_variable.mp4":
        length = Fraction("4.034")  # The container's; FFmpeg guesses at the length of this last frame.
    for count in COUNTS:
        assert sampled(path, UniformCount(count)) == evenly(whole, count, length), f"{count} frames"


@needs_ffmpeg
@pytest.mark.parametrize("name", MADE)
def test_key_frames_are_the_same_with_and_without_a_plan(name: str, videos: Path) -> None:
    path = made_video(name, videos)
    assert sampled(path, Keyframes()) == sampled(path, Keyframes(), planned=False) != []


@needs_ffmpeg
@pytest.mark.parametrize("name", MADE)
def test_key_frames_are_those_of_a_full_decode(name: str, videos: Path) -> None:
    path = made_video(name, videos)
    keys = key_times(path)
    assert sampled(path, Keyframes()) == [(time, md5) for time, md5 in presented_frames(path) if time in keys]


@needs_ffmpeg
@pytest.mark.parametrize(("rotate", "hflip", "vflip"), [(r, h, False) for r in (0, 90, 180, 270) for h in (0, 1)])
def test_planes_are_stored_as_they_are_however_they_are_turned(
    rotate: int, hflip: bool, vflip: bool, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "v.mp4", frames=30, bframes=2, rotate=rotate, hflip=hflip, vflip=vflip)
    assert sampled(path, EVERY_FRAME) == sampled(path, EVERY_FRAME, planned=False) == presented_frames(path)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("codec", "format"), [("libx264", "h264"), ("libx265", "hevc"), ("mpeg2video", "mpeg2video"), ("mpeg4", "m4v")]
)
def test_a_raw_stream_without_times_has_those_of_its_rate(codec: str, format: str, tmp_path: Path) -> None:
    """FFmpeg rounds each length to its clock of 1,200,000 and adds them up, so its times are compared to 0.1 ms."""
    path = make_video(tmp_path / f"v.{format}", codec=codec, format=format, bframes=2)
    got, whole = sampled(path, EVERY_FRAME), presented_frames(path)
    assert [md5 for _, md5 in got] == [md5 for _, md5 in whole]
    assert [time for time, _ in got] == pytest.approx([time for time, _ in whole], abs=1e-4)


@needs_ffmpeg
def test_bug_frames_before_the_first_time_were_lost_and_the_rest_came_early(tmp_path: Path) -> None:
    """Matroska cannot hold negative times: the packets have none. Half a second of them went missing."""
    whole = make_video(tmp_path / "whole.mp4")
    path = tmp_path / "v.mkv"
    run_ffmpeg("-itsoffset", "-0.5", "-i", whole, "-c", "copy", "-avoid_negative_ts", "disabled", path)
    frames = SampledFrames(path, EVERY_FRAME)
    got = [(pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames]
    assert [md5 for _, md5 in got] == [md5 for _, md5 in presented_frames(whole)]
    assert [time for time, _ in got] == pytest.approx([time - 0.5 for time, _ in presented_frames(whole)], abs=0.01)
    assert frames.report.derived_times == 15


@needs_ffmpeg
@pytest.mark.parametrize("name", MADE)
def test_the_plan_holds_where_the_index_can_be_trusted(name: str, videos: Path) -> None:
    frames = SampledFrames(made_video(name, videos), EverySeconds(Fraction(1, 2)))
    for _ in frames:
        pass
    assert frames.report.problem is None
    assert frames.report.mode == ("sequential" if name in SEQUENTIAL else "planned")
    assert bool(frames.report.reason) == (name in SEQUENTIAL)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_real_footage(name: str) -> None:
    whole = presented_frames(footage(name))
    for delta in (Fraction(1), Fraction(1, 3)):
        assert sampled(footage(name), EverySeconds(delta)) == by_the_rule(whole, delta)


@settings(max_examples=40, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 4000), min_size=11, max_size=11),
    start=st.sampled_from([0, 1, 90_000, 10**9]),
    suffix=st.sampled_from(["mp4", "mkv", "ts"]),
    bframes=st.integers(0, 3),
    gop=st.integers(1, 12),
    delta=st.fractions(Fraction(1, 1000), Fraction(5), max_denominator=1001),
)
def test_any_times_any_groups_any_start(
    gaps: list[int], start: int, suffix: str, bframes: int, gop: int, delta: Fraction, tmp_path_factory: Any
) -> None:
    """The rule, word for word, on the times that were written, to the container's own resolution."""
    path = tmp_path_factory.mktemp("any") / f"v.{suffix}"
    pts = [start + 90 * sum(gaps[:n]) for n in range(12)]  # Whole milliseconds, which every container here can hold.
    make_video(path, frames=12, size=(32, 32), gop=gop, bframes=bframes, pts=pts, time_base=Fraction(1, 90_000))
    whole = sampled(path, EVERY_FRAME, planned=False)
    first = whole[0][0]
    assert [time - first for time, _ in whole] == [pytest.approx((p - pts[0]) / 90_000, abs=1e-9) for p in pts]
    for planned in (True, False):
        assert sampled(path, EverySeconds(delta), planned=planned) == by_the_rule(whole, delta)
        assert sampled(path, EverySeconds(Fraction(min(gaps), 1000)), planned=planned) == whole
        length = index_video(path).length * index_video(path).time_base
        for count in (1, 5, 11, 12, 13):
            assert sampled(path, UniformCount(count), planned=planned) == evenly(whole, count, length)


def test_a_plan_decodes_less(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=300, gop=30, bframes=2)
    frames = SampledFrames(path, EverySeconds(Fraction(2)))
    assert len(list(frames)) == 5
    assert frames.report.decoded < 30


def test_a_group_ends_with_its_last_target_even_where_the_next_one_has_targets_too(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=150, gop=30, bframes=2)
    frames = SampledFrames(path, EverySeconds(Fraction(1)))
    assert len(list(frames)) == frames.report.decoded == 5


def test_a_file_object_is_read_from_its_start_and_left_open(tmp_path: Path) -> None:
    file = io.BytesIO(make_video(tmp_path / "v.mp4").read_bytes())
    file.seek(100)
    assert len(list(SampledFrames(file, EverySeconds(Fraction(1))))) == 2
    assert not file.closed


@pytest.mark.parametrize("wrong", [0, 2])
def test_a_plan_that_does_not_come_true_is_given_up(
    wrong: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "v.mp4", bframes=2)
    policy = EverySeconds(Fraction(1, 2))
    exact = sampled(path, policy, planned=False)
    planner = decode.plan_decode

    def plan_a_time_that_never_comes(*arguments: Any) -> DecodePlan:
        plan = planner(*arguments)
        assert plan is not None
        targets = list(plan.targets)
        targets[wrong] += 1
        return DecodePlan(plan.steps, tuple(targets))

    monkeypatch.setattr(decode, "plan_decode", plan_a_time_that_never_comes)
    frames = SampledFrames(path, policy)
    assert [(pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames] == exact
    assert (frames.report.mode, frames.report.sampled) == ("sequential", 4)
    assert "planned frames did not come out" in frames.report.reason


def test_nothing_but_what_samples_need_is_decoded(tmp_path: Path) -> None:
    index = index_video(make_video(tmp_path / "v.mp4", frames=36, gop=12, bframes=2))
    plan = decode.plan_decode(index, EverySeconds(Fraction(9, 10)))
    assert plan is not None
    steps = plan.steps.reshape(3, 12)
    assert (steps[0][0], steps[0][1:].any()) == (Step.LAST, np.False_)
    assert not steps[1].any()
    assert Step.LAST in steps[2]
    assert Step.REFERENCE in steps[2]


def test_the_report_is_kept_back_until_the_end(tmp_path: Path) -> None:
    frames = SampledFrames(make_video(tmp_path / "v.mp4"), EverySeconds(Fraction(1)))
    with pytest.raises(RuntimeError):
        _ = frames.report
    assert len(list(frames)) == frames.report.sampled == 2


def test_streams_without_any_times_get_derived_ones(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.h264", format="h264", bframes=2)
    frames = SampledFrames(path, EverySeconds(Fraction(1)))
    times = [float(pts * frames.index.time_base) for pts, _ in frames]
    assert times == pytest.approx([0, 1])
    assert frames.report.derived_times == 60


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_a_count_is_right_without_any_times(codec: str, tmp_path: Path) -> None:
    formats = {"libx264": "h264", "libx265": "hevc", "mpeg2video": "mpeg2video"}
    path = make_video(tmp_path / "v", codec=codec, format=formats[codec], bframes=2)
    every = sampled(path, EVERY_FRAME)
    assert sampled(path, UniformCount(4)) == [every[n] for n in (0, 15, 30, 45)]
    assert sampled(path, UniformCount(60)) == every


@dataclass
class _Timed:
    """What the clock reads of a frame."""

    pts: int | None
    dts: int | None
    duration: int = 0


def test_wrong_presentation_times_give_way_to_decode_times() -> None:
    """Packets of B-frames stamped in decode order, as old AVI and Matroska writers do."""
    stream = cast("Any", SimpleNamespace(average_rate=Fraction(30), guessed_rate=None))
    clock = FrameClock(Fraction(1, 30), stream)
    frames = [_Timed(p, d) for p, d in ((1, 2), (3, 3), (4, 4), (2, 5), (6, 6), (7, 7), (5, 8))]
    assert [clock.time_of(cast("Any", frame)) for frame in frames] == [1, 3, 4, 5, 6, 7, 8]
    assert clock.derived == 4


def test_frames_without_any_time_follow_the_one_before() -> None:
    stream = cast("Any", SimpleNamespace(average_rate=None, guessed_rate=Fraction(10)))
    clock = FrameClock(Fraction(1, 1000), stream)
    frames = [_Timed(None, None), _Timed(None, None), _Timed(None, None, 40), _Timed(500, None)]
    assert [clock.time_of(cast("Any", frame)) for frame in frames] == [0, 100, 140, 500]

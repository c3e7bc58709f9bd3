"""The plan of windows: the rule to the letter, each packet in one window, and no cut that is not clean."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets.video.index import VideoIndex
from video_assets.video.orientation import Orientation
from video_assets.video.packets import NO_TIME
from video_assets.video.windows import CannotCut, Window, fits_one_window, plan_windows

TICK = Fraction(1, 10)


def index_of(pts: list[int], entries: list[int], hidden: list[int] | None = None) -> VideoIndex:
    """An index of packets at these times, in file order; `entries` and `hidden` are packet numbers."""
    numbers = np.arange(len(pts))
    entry = np.isin(numbers, entries)
    return replace(
        _blank(),
        pts=np.array(pts, dtype=np.int64),
        duration=np.ones(len(pts), dtype=np.int64),
        length=max(pts) + 1 - min(pts),
        keyframe=entry,
        entry=entry,
        discard=np.isin(numbers, hidden or []),
    )


@cache
def _blank() -> VideoIndex:
    nothing = np.array([], dtype=np.int64)
    return VideoIndex(
        container="mov",
        codec="h264",
        video_streams=1,
        pixel_format="yuv420p",
        width=96,
        height=64,
        orientation=Orientation(),
        sample_aspect_ratio=Fraction(1),
        colorspace=2,
        color_range=0,
        time_base=TICK,
        average_rate=Fraction(10),
        length=0,
        declared_duration_s=None,
        declared_frames=None,
        interlaced=False,
        pts=nothing,
        duration=nothing,
        keyframe=nothing.astype(np.bool_),
        entry=nothing.astype(np.bool_),
        discard=nothing.astype(np.bool_),
        size_bytes=nothing,
        position=nothing,
        skips_unreferenced=True,
        doubt="",
    )


def test_a_window_begins_at_the_first_entry_at_or_after_each_multiple() -> None:
    index = index_of(list(range(100, 140)), entries=[0, 8, 16, 24, 32])
    assert plan_windows(index, Fraction(1), label="v") == (
        Window(0, 0, 16, 100, 116),
        Window(1, 16, 24, 116, 124),
        Window(2, 24, 32, 124, 132),
        Window(3, 32, 40, 132, 140),
    )


def test_an_entry_exactly_at_a_multiple_begins_its_window() -> None:
    index = index_of(list(range(30)), entries=[0, 10, 20])
    assert [(w.number, w.start_pts) for w in plan_windows(index, Fraction(1), label="v")] == [(0, 0), (1, 10), (2, 20)]


def test_one_entry_stands_for_several_multiples() -> None:
    index = index_of(list(range(50)), entries=[0, 35, 42])
    assert [(w.number, w.start_pts) for w in plan_windows(index, Fraction(1), label="v")] == [(0, 0), (3, 35), (4, 42)]


def test_where_leading_frames_reach_across_an_entry_nothing_is_cut() -> None:
    #       I  P  B  | I  B  B  P | I  P    the second entry has leading frames, the third has none
    pts = [0, 3, 1, 10, 8, 9, 12, 20, 22]
    index = index_of(pts, entries=[0, 3, 7])
    assert [(w.first, w.stop) for w in plan_windows(index, Fraction(1), label="v")] == [(0, 7), (7, 9)]


def test_where_a_frame_before_an_entry_is_shown_after_it_nothing_is_cut() -> None:
    index = index_of([0, 11, 10, 12], entries=[0, 2])
    with pytest.raises(CannotCut, match="depend on one another"):
        plan_windows(index, Fraction(1), label="v")


def test_times_count_from_the_first_presented_frame() -> None:
    index = index_of(list(range(-5, 25)), entries=[0, 14, 16], hidden=[0, 1, 2, 3, 4])
    (first, second) = plan_windows(index, Fraction(1), label="v")
    assert (first.first, first.start_pts) == (0, 0)
    assert second.start_pts == 11


@pytest.mark.parametrize(
    ("index", "cause"),
    [
        (index_of([0, NO_TIME, 2], entries=[0, 2]), "no presentation times"),
        (index_of([0, 10, 10, 11], entries=[0, 1]), "same presentation time"),
        (index_of([0, 10, 20], entries=[0, 1, 2], hidden=[2]), "edit list"),
        (index_of([0, 10, 20], entries=[0]), "no key frame from 1 s on"),
        (replace(index_of([0, 10, 20], entries=[]), doubt="no rules for skipping parts of ffv1"), "no rules"),
    ],
    ids=["no times", "equal times", "hidden at the end", "no entry", "no rules"],
)
def test_what_cannot_be_cut_says_why(index: VideoIndex, cause: str) -> None:
    with pytest.raises(CannotCut, match=cause):
        plan_windows(index, Fraction(1), label="v")


@pytest.mark.parametrize(("last", "fits"), [(9, True), (10, False)])
def test_a_video_fits_one_window_while_its_last_frame_does(last: int, fits: bool) -> None:
    assert fits_one_window(index_of([0, 5, last], entries=[0]), Fraction(1)) is fits


@given(
    gaps=st.lists(st.integers(1, 9), min_size=2, max_size=60),
    entries=st.sets(st.integers(1, 59)),
    seconds=st.fractions(Fraction(1, 7), Fraction(9), max_denominator=7),
)
def test_every_frame_is_in_the_window_of_the_rule(gaps: list[int], entries: set[int], seconds: Fraction) -> None:
    pts = np.cumsum([0, *gaps]).tolist()
    index = index_of(pts, entries=[0, *(e for e in entries if e < len(pts))])
    starts = {0}
    for k in range(1, int(pts[-1] * TICK / seconds) + 1):
        starts |= set([e for e in np.flatnonzero(index.entry).tolist() if pts[e] * TICK >= k * seconds][:1])
    if len(starts) == 1:
        with pytest.raises(CannotCut):
            plan_windows(index, seconds, label="v")
        return
    windows = plan_windows(index, seconds, label="v")
    assert [w.first for w in windows] == sorted(starts)
    assert [w.number for w in windows] == [int(pts[w.first] * TICK // seconds) for w in windows]
    assert (windows[0].first, windows[-1].stop, windows[-1].end_pts) == (0, len(pts), pts[-1] + 1)
    for one, following in pairwise(windows):
        assert (one.stop, one.end_pts) == (following.first, following.start_pts)

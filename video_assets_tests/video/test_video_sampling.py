"""The sampling rule, against its own words and on numbers where floats go wrong."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets.video.sampling import (
    EverySeconds,
    Keyframes,
    SamplingPolicy,
    Scenes,
    TimedPolicy,
    UniformCount,
    exact,
    parse_policy,
    select_frames,
)

GAPS = st.lists(st.integers(0, 5000), min_size=1, max_size=40)
STARTS = st.integers(-(10**12), 10**12)
TIME_BASES = st.fractions(Fraction(1, 90000), Fraction(1, 10), max_denominator=90000)


def select(pts: list[int], time_base: Fraction, policy: TimedPolicy, last: int = 1) -> list[int]:
    """Numbers of the samples; every third frame is a key frame, the last one lasts `last`."""
    keys = np.arange(len(pts)) % 3 == 0
    length = pts[-1] - pts[0] + last
    return select_frames(np.array(pts, np.int64), keys, time_base, policy, length=length).tolist()


def chosen(pts: list[int], time_base: Fraction, delta: Fraction) -> list[int]:
    return select(pts, time_base, EverySeconds(delta))


@given(
    gaps=GAPS,
    start=STARTS,
    time_base=TIME_BASES,
    delta=st.fractions(Fraction(1, 100), Fraction(10), max_denominator=1001),
)
def test_each_sample_is_the_first_frame_at_or_after_its_time(
    gaps: list[int], start: int, time_base: Fraction, delta: Fraction
) -> None:
    pts = np.cumsum([start, *gaps]).tolist()
    times = [(p - pts[0]) * time_base for p in pts]
    expected: list[int] = []
    k = 0
    while k * delta <= times[-1]:
        first = next(n for n, time in enumerate(times) if time >= k * delta)
        if first not in expected:
            expected.append(first)
        # Frames further on stand for later k only; jumping there keeps tiny deltas fast.
        k = max(k + 1, times[first] // delta + 1)
    assert chosen(pts, time_base, delta) == expected


@given(gaps=GAPS, start=STARTS, time_base=TIME_BASES, count=st.integers(1, 50), last=st.integers(0, 5000))
def test_a_count_takes_the_first_frame_at_or_after_each_even_part(
    gaps: list[int], start: int, time_base: Fraction, count: int, last: int
) -> None:
    pts = np.cumsum([start, *gaps]).tolist()
    times = [(p - pts[0]) * time_base for p in pts]
    length = times[-1] + last * time_base
    expected: list[int] = []
    for k in range(count):
        first = next((n for n, time in enumerate(times) if time >= k * length / count), None)
        if first is not None and first not in expected:
            expected.append(first)
    if len(pts) <= count:
        expected = list(range(len(pts)))
    assert select(pts, time_base, UniformCount(count), last) == expected


@given(frames=st.integers(1, 200), count=st.integers(1, 300), gap=st.integers(1, 5000))
def test_a_count_of_evenly_spaced_frames_is_met_exactly(frames: int, count: int, gap: int) -> None:
    numbers = select([n * gap for n in range(frames)], Fraction(1, 1000), UniformCount(count), last=gap)
    assert len(numbers) == min(frames, count)
    assert set(np.diff(numbers)) <= {frames // count, -(-frames // count)} or count >= frames


@given(gaps=st.lists(st.integers(1, 5000), min_size=1, max_size=40), start=STARTS, time_base=TIME_BASES)
def test_a_rate_above_the_native_one_takes_every_frame_once_whatever_the_gaps(
    gaps: list[int], start: int, time_base: Fraction
) -> None:
    pts = np.cumsum([start, *gaps]).tolist()
    assert chosen(pts, time_base, min(gaps) * time_base) == list(range(len(pts)))
    assert select(pts, time_base, UniformCount(len(pts))) == list(range(len(pts)))


POLICIES = st.one_of(
    st.builds(EverySeconds, st.fractions(Fraction(1, 100), Fraction(10), max_denominator=1001)),
    st.builds(UniformCount, st.integers(1, 50)),
    st.just(Keyframes()),
)


@given(gaps=GAPS, start=STARTS, time_base=TIME_BASES, policy=POLICIES)
def test_no_frame_is_taken_twice_and_the_start_of_the_clock_does_not_matter(
    gaps: list[int], start: int, time_base: Fraction, policy: TimedPolicy
) -> None:
    pts = np.cumsum([start, *gaps]).tolist()
    numbers = select(pts, time_base, policy)
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    assert numbers == select([p - start for p in pts], time_base, policy)


def test_a_frame_exactly_at_its_time_is_taken_after_a_million_steps() -> None:
    # 1001/30000 s apart, a sample each 1001/30000 s: floats lose frames here, fractions do not.
    pts = [1001 * n for n in range(1_000_000, 1_000_100)]
    assert chosen(pts, Fraction(1, 30000), Fraction(1001, 30000)) == list(range(100))


def test_a_rate_above_the_native_one_takes_every_frame_once() -> None:
    assert chosen([0, 512, 1024, 1536], Fraction(1, 15360), Fraction(1, 240)) == [0, 1, 2, 3]


def test_one_frame_stands_for_all_samples_in_a_gap() -> None:
    assert chosen([0, 10, 35, 36, 41], Fraction(1, 10), Fraction(1)) == [0, 1, 2, 4]


def test_frames_with_one_time_count_once() -> None:
    assert chosen([0, 0, 10, 10], Fraction(1, 10), Fraction(1)) == [0, 2]


def test_key_frames() -> None:
    assert select(list(range(8)), Fraction(1), Keyframes()) == [0, 3, 6]


def test_a_last_frame_of_no_length_is_not_one_sample_too_many() -> None:
    assert select([0, 10, 20, 30], Fraction(1), UniformCount(3), last=0) == [0, 1, 2]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("every_s=0.5", EverySeconds(Fraction(1, 2))),
        ("fps=2", EverySeconds(Fraction(1, 2))),
        ("count=08", UniformCount(8)),
        ("keyframes", Keyframes()),
        ("scene", Scenes()),
    ],
)
def test_policies_as_settings_write_them(written: str, meant: SamplingPolicy) -> None:
    assert parse_policy(written) == meant


@pytest.mark.parametrize(
    "written", ["count=0", "count=-1", "count=1.5", "count=", "count=٣", "count=1e3", "scene=", "x"]
)
def test_senseless_policies_are_refused(written: str) -> None:
    with pytest.raises(ValueError):
        parse_policy(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0.5", Fraction(1, 2)),
        ("1/3", Fraction(1, 3)),
        ("29.97", Fraction(2997, 100)),
        (0.1, Fraction(1, 10)),
        (2, Fraction(2)),
        (Decimal("0.04"), Fraction(1, 25)),
    ],
)
def test_numbers_mean_what_is_written(written: str | float | Decimal, meant: Fraction) -> None:
    assert exact(written) == meant
    assert EverySeconds.parse(written).delta == meant
    assert EverySeconds.at_rate(written).delta == 1 / meant


@pytest.mark.parametrize("written", ["", "a", "0", "-1", "1/0", "nan", "inf", 0.0, float("nan")])
def test_senseless_numbers_are_refused(written: str | float) -> None:
    with pytest.raises(ValueError):
        EverySeconds.parse(written)
    with pytest.raises(ValueError):
        EverySeconds.at_rate(written)

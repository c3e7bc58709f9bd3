"""The sampling rule, against its own words and on numbers where floats go wrong."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets.video.sampling import EverySeconds, Keyframes, exact, select_frames


def chosen(pts: list[int], time_base: Fraction, delta: Fraction) -> list[int]:
    keys = np.zeros(len(pts), np.bool_)
    return select_frames(np.array(pts, np.int64), keys, time_base, EverySeconds(delta)).tolist()


@given(
    gaps=st.lists(st.integers(0, 5000), min_size=1, max_size=40),
    start=st.integers(-(10**12), 10**12),
    time_base=st.fractions(Fraction(1, 90000), Fraction(1, 10), max_denominator=90000),
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
    keys = np.array([True, False, True])
    assert select_frames(np.arange(3), keys, Fraction(1), Keyframes()).tolist() == [0, 2]


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

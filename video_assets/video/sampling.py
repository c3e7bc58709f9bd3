"""Which frames to keep: sampling policies, decided in exact arithmetic on presentation times."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EverySeconds:
    """Sample k is the first frame whose presentation time is at least k·`delta` seconds.

    Times count from the first presented frame. No frame is taken twice: where frames are further apart
    than `delta`, one frame stands for several k. A rate above the native one takes every frame once.
    """

    delta: Fraction

    def __post_init__(self) -> None:
        if not isinstance(self.delta, Fraction) or self.delta <= 0:
            raise ValueError(f"delta is a positive Fraction of seconds, not {self.delta!r}")

    @classmethod
    def parse(cls, seconds: str | float | Fraction | Decimal) -> EverySeconds:
        """From seconds as a person writes them: `0.5`, `1/3`, `2`."""
        return cls(exact(seconds))

    @classmethod
    def at_rate(cls, fps: str | float | Fraction | Decimal) -> EverySeconds:
        """From frames per second: `29.97`, `1/10`, `2`."""
        rate = exact(fps)
        if rate <= 0:
            raise ValueError(f"a rate is above 0 frames per second, not {fps!r}")
        return cls(1 / rate)


@dataclass(frozen=True, slots=True)
class UniformCount:
    """Sample k of `count`, from 0, is the first frame whose presentation time is at least k·D/`count`.

    Times count from the first presented frame; D is the length of the video, its last frame's included. No
    frame is taken twice: where frames are further apart than D/`count`, one frame stands for several k. A
    video of no more than `count` frames gives every frame once.
    """

    count: int

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"a count of frames is a whole number from 1, not {self.count!r}")

    @classmethod
    def parse(cls, count: str) -> UniformCount:
        """From a whole number as a person writes it."""
        if not re.fullmatch("[0-9]{1,9}", count):
            raise ValueError(f"a count of frames is a whole number from 1, not {count[:32]!r}")
        return cls(int(count))


@dataclass(frozen=True, slots=True)
class Keyframes:
    """Every frame that the container marks as a key frame (the decoder, where packets lack their times)."""


@dataclass(frozen=True, slots=True)
class Scenes:
    """The first frame of each scene, the video's first frame among them; see `scenes`."""


TimedPolicy = EverySeconds | UniformCount | Keyframes
"""Policies that need no pixels."""

SamplingPolicy = TimedPolicy | Scenes


def parse_policy(text: str) -> SamplingPolicy:
    """A policy as settings write it, such as `fps=29.97`; raises ValueError, which lists the forms."""
    name, _, number = text.partition("=")
    if text == "keyframes":
        return Keyframes()
    if text == "scene":
        return Scenes()
    if name == "every_s":
        return EverySeconds.parse(number)
    if name == "fps":
        return EverySeconds.at_rate(number)
    if name == "count":
        return UniformCount.parse(number)
    raise ValueError(f"write every_s=SECONDS, fps=RATE, count=N, keyframes or scene, not {text!r}")


def exact(value: str | float | Fraction | Decimal) -> Fraction:
    """The number as written: `0.1` is 1/10, not its nearest binary float.

    Raises:
        ValueError: not a finite number, or a fraction over 0.
    """
    if isinstance(value, str) and (len(value) > 32 or "e" in value.lower()):
        raise ValueError(f"not a plain number: {value[:32]!r}")
    try:
        return Fraction(repr(value) if isinstance(value, float) else value)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise ValueError(f"not a number: {value!r}") from error


class Sampler:
    """Applies a policy to presented frames, one by one, in presentation order.

    Args:
        policy: which frames.
        time_base: seconds of a unit of time.
        frames: how many frames will be presented, by the container's word.
        length: from the first frame to the end of the last, in units of `time_base`.
    """

    def __init__(self, policy: TimedPolicy, time_base: Fraction, *, frames: int, length: int) -> None:
        self._keyframes = isinstance(policy, Keyframes)
        self._all = isinstance(policy, UniformCount) and frames <= policy.count
        # k·Δ ≤ t is compared as integers: k = ⌊(pts - first) · num / den⌋.
        step, self._last = Fraction(1), None
        if isinstance(policy, EverySeconds):
            step = time_base / policy.delta
        elif isinstance(policy, UniformCount):
            step, self._last = Fraction(policy.count, max(length, 1)), policy.count - 1
        self._num, self._den = step.numerator, step.denominator
        self._first: int | None = None
        self._reached = -1

    def takes(self, pts: int, keyframe: bool) -> bool:
        """Whether the frame at `pts` (in the stream's time base) is a sample."""
        if self._all:
            return True
        if self._keyframes:
            return keyframe
        if self._first is None:
            self._first = pts
        k = (pts - self._first) * self._num // self._den
        if self._last is not None:
            k = min(k, self._last)
        if k <= self._reached:
            return False
        self._reached = k
        return True


def select_frames(
    pts: NDArray[np.int64], keyframe: NDArray[np.bool_], time_base: Fraction, policy: TimedPolicy, *, length: int
) -> NDArray[np.int64]:
    """Indices of the samples among presented frames; `pts` and `keyframe` in presentation order."""
    sampler = Sampler(policy, time_base, frames=len(pts), length=length)
    frames: Iterable[tuple[int, bool]] = zip(pts.tolist(), keyframe.tolist(), strict=True)
    return np.array([i for i, (time, key) in enumerate(frames) if sampler.takes(time, key)], dtype=np.int64)

"""Which packets must be decoded for a set of frames, without changing a pixel of them.

A *group* runs from one entry (a packet where decoding may start) to before the next. Groups without a
target are left out. Within a group, packets after its last target are left out, and of the packets before
it those that no frame refers to (where the codec allows it). Whether a needed frame refers to the others only
their headers tell (see `h264_references`), which a plan leaves to the decode. Leading frames (presented before their
group's entry, in an open GOP) also need the group before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from video_assets.video.index import VideoIndex
from video_assets.video.sampling import SamplingPolicy, Scenes, select_frames

_MOST_TOGETHER_BYTES = 32 * 1024 * 1024
"""Of the packets that are held in memory at a time."""


class Step(IntEnum):
    """What to do with a packet."""

    SKIP = 0
    REFERENCE = 1
    """Decode unless nothing refers to it."""
    TARGET = 2
    """Decode in full; its frame may be wanted."""
    LAST = 3
    """As TARGET; then take every frame out of the decoder and start anew."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodePlan:
    """What to do with a video, in file order.

    Attributes:
        steps: of each video packet.
        targets: presentation times that must come out, in order.
        together: first packets of stretches in which, up to LAST, some may refer to nothing else that is needed: it
            shows when their headers are looked at together.
    """

    steps: NDArray[np.uint8]
    targets: tuple[int, ...]
    together: frozenset[int] = frozenset()

    @property
    def end(self) -> int:
        """How many packets there are up to the last that is decoded."""
        return int(np.flatnonzero(self.steps).max(initial=-1)) + 1

    def ranges(self, index: VideoIndex) -> list[tuple[int, int]]:
        """Where in the file the packets lie that are decoded: start and end of each."""
        needed = self.steps != Step.SKIP
        starts, sizes = index.position[needed], index.size_bytes[needed]
        return list(zip(starts.tolist(), (starts + sizes).tolist(), strict=True))


def plan_decode(index: VideoIndex, policy: SamplingPolicy) -> DecodePlan | None:
    """The cheapest exact way to the samples of `policy`; None where the index does not carry a plan.

    Nor can there be one for scenes: only the decoded frames tell where one begins.
    """
    if index.doubt or isinstance(policy, Scenes):
        return None
    order = index.presented
    pts, keyframe = index.pts[order], index.keyframe[order]
    return _plan(index, order[select_frames(pts, keyframe, index.time_base, policy, length=index.length)])


def plan_times(index: VideoIndex, times: Collection[int]) -> DecodePlan | None:
    """The cheapest exact way to the frames of these presentation times; None where the index does not carry a plan."""
    if index.doubt:
        return None
    order = index.presented
    return _plan(index, order[np.isin(index.pts[order], np.array(sorted(times), dtype=np.int64))])


def _plan(index: VideoIndex, chosen: NDArray[np.int64]) -> DecodePlan | None:
    """`chosen`: packet numbers of the samples, in presentation order."""
    if not len(index.presented):
        return None
    group = np.cumsum(index.entry) - 1
    if len(chosen) and group[chosen].min() < 0:
        return None
    steps = np.zeros(len(index.pts), dtype=np.uint8)
    together = set()
    for first, targets in _stretches(index, chosen, group):
        steps[first : targets[-1]] = Step.REFERENCE
        steps[targets] = Step.TARGET
        steps[targets[-1]] = Step.LAST
        if _has_b_frames_between(index, first, targets[-1]):
            together.add(first)
    if not index.skips_unreferenced:
        steps[steps == Step.REFERENCE] = Step.TARGET
    return DecodePlan(steps, tuple(index.pts[chosen].tolist()), frozenset(together))


def _has_b_frames_between(index: VideoIndex, first: int, last: int) -> bool:
    """Whether before `last` a stretch of H.264 has frames presented before others that are decoded earlier.

    Only those are left out by what headers say; others could be, but no known encoder makes them so.
    """
    span = slice(first, last)
    pts = index.pts[span]
    return (
        index.codec == "h264"
        and bool((pts < np.maximum.accumulate(pts)).any())
        and int(index.size_bytes[span].sum()) <= _MOST_TOGETHER_BYTES
    )


def _stretches(
    index: VideoIndex, chosen: NDArray[np.int64], group: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """First packet and target packets of each stretch that is decoded without a new start, in file order.

    A stretch is one group, or several where leading targets tie a group to the one before.
    """
    entries, own = np.flatnonzero(index.entry), group[chosen]
    leading = own[index.pts[chosen] < index.pts[entries[own]]]
    tied = {number for number in leading.tolist() if number > 0}
    stretches: list[tuple[int, int]] = []
    for number in sorted({*own.tolist(), *(number - 1 for number in tied)}):
        first = stretches.pop()[0] if number in tied else number
        stretches.append((first, number))
    for first, last in stretches:
        yield int(entries[first]), np.sort(chosen[(own >= first) & (own <= last)])

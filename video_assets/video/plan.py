"""Which packets must be decoded for a set of frames, without changing a pixel of them.

A *group* runs from one entry (a packet where decoding may start) to before the next. Groups without a
target are left out. Within a group, packets after its last target are left out, and of the packets before
it those that no frame refers to (where the codec allows it). Leading frames (presented before their
group's entry, in an open GOP) also need the group before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from video_assets.video.index import VideoIndex
from video_assets.video.random_access import skips_unreferenced
from video_assets.video.sampling import SamplingPolicy, select_frames


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
    """Steps for each video packet in file order, and the presentation times that must come out, in order."""

    steps: NDArray[np.uint8]
    targets: tuple[int, ...]


def plan_decode(index: VideoIndex, policy: SamplingPolicy) -> DecodePlan | None:
    """The cheapest exact way to the samples of `policy`; None where the index does not carry a plan."""
    if index.doubt or not len(index.presented):
        return None
    order = index.presented
    chosen = order[select_frames(index.pts[order], index.keyframe[order], index.time_base, policy)]
    group = np.cumsum(index.entry) - 1
    if len(chosen) and group[chosen].min() < 0:
        return None
    needed = _needed_groups(index, chosen, group)
    steps = np.zeros(len(index.pts), dtype=np.uint8)
    wanted = np.zeros(len(index.pts), dtype=np.bool_)
    wanted[chosen] = True
    for first, end in _runs(needed[np.maximum(group, 0)] & (group >= 0)):
        targets = first + np.flatnonzero(wanted[first:end])
        steps[first : targets[-1]] = Step.REFERENCE
        steps[targets] = Step.TARGET
        steps[targets[-1]] = Step.LAST
    if not skips_unreferenced(index.codec):
        steps[steps == Step.REFERENCE] = Step.TARGET
    return DecodePlan(steps, tuple(index.pts[chosen].tolist()))


def _needed_groups(index: VideoIndex, chosen: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.bool_]:
    entries = np.flatnonzero(index.entry)
    needed = np.zeros(len(entries), dtype=np.bool_)
    needed[group[chosen]] = True
    leading = chosen[index.pts[chosen] < index.pts[entries[group[chosen]]]]
    needed[np.maximum(group[leading] - 1, 0)] = True
    return needed


def _runs(included: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, end) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], included, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))

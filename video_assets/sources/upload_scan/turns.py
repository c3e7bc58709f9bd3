"""Whose turn it is: many partitions wait for few runs, and no vehicle may wait for ever."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice, zip_longest

FRESH_TO_LATE = 4
"""So many partitions of the look-back are taken for one of an older day, while both wait."""


def in_turn(waiting: Mapping[str, int], first_fresh_date: str, served: Iterable[str]) -> Iterator[str]:
    """The partitions that wait, in the order in which they should run.

    Vehicles come in turn, beginning after the one that was served last; of one vehicle, who waits longest comes first,
    and of those the latest day. Uploads of the last days do not wait for the backlog, nor it for them.

    Args:
        waiting: since when, by partition key.
        first_fresh_date: the first day of the look-back.
        served: the vehicles served last, of fresh and of late uploads.
    """
    after_fresh, after_late = served
    fresh = _by_vehicle({key: since for key, since in waiting.items() if key >= first_fresh_date}, after_fresh)
    late = _by_vehicle({key: since for key, since in waiting.items() if key < first_fresh_date}, after_late)
    while batch := [*islice(fresh, FRESH_TO_LATE), *islice(late, 1)]:
        yield from batch


def vehicle_of(partition_key: str) -> str:
    """The vehicle of a partition key."""
    return partition_key.partition("|")[2]


def _by_vehicle(waiting: Mapping[str, int], after: str) -> Iterator[str]:
    queues: dict[str, list[str]] = {}
    for key in sorted(sorted(waiting, reverse=True), key=waiting.__getitem__):
        queues.setdefault(vehicle_of(key), []).append(key)
    vehicles = sorted(queues)
    start = bisect_right(vehicles, after)
    rounds = zip_longest(*(queues[vehicle] for vehicle in vehicles[start:] + vehicles[:start]))
    return (key for key in chain.from_iterable(rounds) if key is not None)

"""Where a path template puts a vehicle's day: what of the source can be listed by itself.

A *place* is a prefix that tells vehicle and day as far as folders do (`veh-7/2026-01-03/`, `front/2026/01/03/`), and
where a file's name begins with its day, that too (`veh-7/20260103`). Places do not overlap, and each is one stretch of
the sorted keys. A partition lies in one place or several; where folders tell neither, the whole source is one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date as Date
from datetime import timedelta
from functools import cached_property, lru_cache

from video_assets.path_template import PathTemplate
from video_assets.storage.object_store import CommonPrefix, ObjectStore

_Level = str | re.Pattern[str]

_SAMPLE = [Date(2023, 12, 25) + timedelta(days=n) for n in range(740)]
"""Days over two turns of the year and a leap day: names that differ on all of them name a day, in its order or not."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Keys that begin with `prefix`, sort after `after`, and do not sort beyond those that begin with `last`."""

    prefix: str
    after: str = ""
    last: str = ""


@dataclass(frozen=True)
class UploadLayout:
    """What a path template says of prefixes. All of it is found by asking the template about days."""

    template: PathTemplate

    @cached_property
    def depth(self) -> int:
        """How many folders a place is below the root."""
        (one, _), (other, _), (vehicle, _) = (
            self.template.day_walk(Date(2026, 1, 5)),
            self.template.day_walk(Date(2019, 12, 31)),
            self.template.day_walk(Date(2026, 1, 5), "a"),
        )
        return max((n + 1 for n in range(len(one)) if not one[n] == other[n] == vehicle[n]), default=0)

    @cached_property
    def head(self) -> int:
        """How many characters of the next name belong to a place: 0 unless the folders alone do not name the day."""
        if self._dated_levels is None or self._dated_levels <= self.depth:
            return 0
        return len(self.template.day_walk(_SAMPLE[0])[1])

    @property
    def has_day_prefixes(self) -> bool:
        """Whether a day can be listed without listing the others."""
        return self._dated_levels is not None

    def place_of(self, key: str) -> str | None:
        """The place that a key lies in; None where it lies in none, and so fits no partition."""
        end = 0
        for _ in range(self.depth):
            end = key.find("/", end) + 1
            if not end:
                return None
        end += self.head
        return key[:end] if end < len(key) or not end else None

    def day_stretches(self, store: ObjectStore, first: Date, last: Date) -> Iterator[Stretch]:
        """What to list for the uploads of these days: a stretch for each folder that the days lie in.

        Only levels above the day that the template leaves open are listed here. Where names of days do not sort as
        the days do, each day is a stretch of its own.
        """
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        walks = [self._day_levels(day) for day in days]
        shared = next(n for n in range(len(walks[0])) if walks[0][n] != self._day_levels(first - timedelta(400))[n])
        tails = [_plain_path(walk[shared:]) for walk in walks]
        for folder in _descend(store, walks[0][:shared]):
            if self._sorts_by_day and all(tail is not None for tail in tails):
                yield Stretch(folder, f"{folder}{tails[0]}", f"{folder}{tails[-1]}")
                continue
            for walk in walks:
                for prefix in _descend(store, walk[shared:], folder):
                    yield Stretch(prefix)

    @cached_property
    def _dated_levels(self) -> int | None:
        """How many levels from the root name a day; one more than the folders where the next name's head is needed."""
        whole = [self._levels(day) for day in _SAMPLE]
        for count in range(len(whole[0]) + 1):
            if len({_signature(levels[:count]) for levels in whole}) == len(_SAMPLE):
                return count
        return None

    @cached_property
    def _sorts_by_day(self) -> bool:
        named = [_signature(self._day_levels(day)) for day in _SAMPLE]
        return named == sorted(named)

    def _day_levels(self, day: Date) -> list[_Level]:
        return self._levels(day)[: self._dated_levels]

    def _levels(self, day: Date) -> list[_Level]:
        """The folders of a day, each with its `/`, and the head of the next name."""
        folders, head = self.template.day_walk(day)
        return [*(f"{level}/" if isinstance(level, str) else level for level in folders), head]


@lru_cache(maxsize=16)
def layout_of(template: PathTemplate) -> UploadLayout:
    """The layout of a template, found out once: it takes a tenth of a second."""
    return UploadLayout(template)


def _plain_path(levels: list[_Level]) -> str | None:
    """The levels as one path; None where one is not known."""
    return "".join(str(level) for level in levels) if all(isinstance(level, str) for level in levels) else None


def _signature(levels: list[_Level]) -> tuple[str, ...]:
    return tuple(level if isinstance(level, str) else level.pattern for level in levels)


def _descend(store: ObjectStore, levels: list[_Level], prefix: str = "") -> Iterator[str]:
    """The prefixes at the end of the levels; a level is listed only where its name is not known."""
    for depth, level in enumerate(levels):
        if isinstance(level, str):
            prefix += level
            continue
        for entry in store.list_level(prefix):
            if isinstance(entry, CommonPrefix) and level.fullmatch(entry.prefix[len(prefix) : -1]):
                yield from _descend(store, levels[depth + 1 :], entry.prefix)
        return
    yield prefix

"""What the reconciler remembers between two ticks."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field

from video_assets.errors import VideoAssetsError
from video_assets.keys import InvalidId, Partition

VERSION = 1

_END = "~"
"""Sorts after every vehicle id: the day is done."""


class ReconcileCursorError(VideoAssetsError):
    """A stored cursor that this version cannot read."""


@dataclass
class OpenPartition:
    """A partition that was not up to date when last looked at: in which state, and how often it was asked for in it."""

    state: str
    tries: int = 0
    given_up: bool = False


@dataclass
class ReconcileCursor:
    """The generation of the last run key, where the search goes on (day, last vehicle looked at), and what is open."""

    generation: int = 0
    position: tuple[str, str] | None = None
    open: dict[str, OpenPartition] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> ReconcileCursor:
        """The cursor that `dump` wrote; a new one for None.

        Raises:
            ReconcileCursorError: it is of another version or no cursor.
        """
        if not text:
            return cls()
        try:
            stored = json.loads(text)
            if stored["version"] != VERSION:
                raise ValueError(f"version {stored['version']}")
            day, vehicle = stored["position"] or ("", "")
            found = {
                Partition.from_key(key).key: OpenPartition(str(one["state"]), int(one["tries"]), bool(one["given_up"]))
                for key, one in stored["open"].items()
            }
            return cls(int(stored["generation"]), (str(day), str(vehicle)) if day else None, found)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, InvalidId) as error:
            remedy = "Clear the sensor's cursor in the UI: it finds everything again."
            raise ReconcileCursorError("cursor of the reconciler", f"cannot be read: {error}", remedy) from None

    def dump(self) -> str:
        """The cursor as text."""
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)

    def next_generation(self) -> int:
        """A number that no run key has had: Dagster remembers run keys for ever."""
        self.generation += 1
        return self.generation

    def is_behind(self, day: str, vehicle: str | None = None) -> bool:
        """Whether the search, newest day first, has passed this day, or this vehicle of it."""
        if self.position is None:
            return False
        at_day, at_vehicle = self.position
        return day > at_day or (day == at_day and (vehicle or _END) <= at_vehicle)

    def end_day(self, day: str) -> None:
        """Notes that the search is done with the day."""
        self.position = (day, _END)

    def keep_days(self, days: Collection[str]) -> None:
        """Forgets what is of other days: they cannot be asked for any more."""
        kept = set(days)
        self.open = {key: one for key, one in self.open.items() if Partition.from_key(key).date in kept}

    def forget(self, limit: int) -> None:
        """Keeps at most so many that were given up; one that is forgotten is found and tried again."""
        for key in self.given_up[:-limit]:
            del self.open[key]

    @property
    def waiting(self) -> list[str]:
        """What is to be made again, without what was given up."""
        return [key for key, one in self.open.items() if not one.given_up]

    @property
    def given_up(self) -> list[str]:
        """What was asked for so often that more would not help."""
        return sorted(key for key, one in self.open.items() if one.given_up)

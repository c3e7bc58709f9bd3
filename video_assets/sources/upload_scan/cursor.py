"""What the upload sensor's cursor says: which memory belongs to it, and where its looks go on.

Dagster stores the cursor together with what a tick asked for, so a tick happened wholly or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from video_assets.errors import VideoAssetsError
from video_assets.keys import content_id
from video_assets.sources.upload_scan.scan import Unfinished
from video_assets.sources.upload_scan.sweep import SweepPosition

VERSION = 2

UNMATCHED_AGAIN_S = 3600
"""A listing of the unmatched that was asked for and never made is asked for again after so long."""

_SAFE = {"memory": "([0-9a-f]{32})?", "source": "([0-9a-f]{16})?"}


class CursorError(VideoAssetsError):
    """A stored cursor that this version cannot read."""


@dataclass(frozen=True, slots=True)
class Change:
    """A partition whose uploads are not those that were asked for last."""

    partition_key: str
    fingerprint: str
    generation: int

    @property
    def run_key(self) -> str:
        """Never the same twice for one partition: Dagster remembers run keys for ever, also when earlier bytes come
        back (A → B → A). The generation, raised at each change, sees to that.
        """
        return f"{self.partition_key}:{self.generation}:{self.fingerprint}"


@dataclass
class UploadCursor:
    """Small, whatever the fleet's size.

    Attributes:
        source: which source and template it is of, as a hash.
        memory: the name of the memory that belongs to it; empty for none yet.
        generation: what a partition that was never asked for starts from.
        sweep_after, sweep_inside: where the sweep goes on.
        sweep_begun, sweep_done: when this sweep began and the last one ended, epoch seconds; 0 for never.
        sweep_videos, sweep_unmatched, sweep_example: what this sweep has seen so far; `sweep_is_whole` is unset once it
            missed something.
        unfinished: a place that takes several steps: its name, the last key seen, and how many objects settle.
        window_after, window_inside: the last stretch of the look-back that was looked at, and the last key seen of the
            one after it.
        served: whose turn it was last, of the vehicles with fresh uploads, and of those with late ones.
        sweeps: how many sweeps were begun.
        unmatched: the fingerprint of what belonged to no partition, as it was asked for last; `unmatched_generation`
            counts its changes. `unmatched_table` is the version of the table by then, `unmatched_asked` when that was.
            `unmatched_count` and `unmatched_example` say more of it, for people.
        made_after: the last of the history's records of what runs made that was taken; -1 for none.
        taken: the state of the inventory or list that was taken last.
        videos: how many the last whole sweep saw.
        is_rebuilt: whether one whole sweep has been since the memory was begun.
    """

    source: str = ""
    memory: str = ""
    generation: int = 0
    sweep_after: str = ""
    sweep_inside: str = ""
    sweep_begun: int = 0
    sweep_done: int = 0
    sweep_videos: int = 0
    sweep_is_whole: bool = True
    sweeps: int = 0
    sweep_unmatched: list[int] = field(default_factory=lambda: [0, 0, 0])
    sweep_example: str = ""
    unfinished: list[Any] = field(default_factory=list)
    window_after: str = ""
    window_inside: str = ""
    served: list[str] = field(default_factory=lambda: ["", ""])
    unmatched: str = ""
    unmatched_generation: int = 0
    unmatched_table: str = ""
    unmatched_asked: int = 0
    unmatched_count: int = 0
    unmatched_example: str = ""
    made_after: int = -1
    taken: str = ""
    videos: int = 0
    is_rebuilt: bool = False

    @classmethod
    def parse(cls, text: str | None) -> UploadCursor:
        """The cursor that `dump` wrote; a new one for None; of version 1, what can be taken over.

        Raises:
            CursorError: it is of another version or no cursor.
        """
        if not text:
            return cls()
        try:
            stored = json.loads(text)
            if stored["version"] == 1:
                return _of_version_1(stored)
            if stored.pop("version") != VERSION:
                raise ValueError("it is of another version")
            cursor = cls(**stored)
            cursor.check()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            remedy = "Clear the sensor's cursor in the UI: what the manifests have already is not made again."
            raise CursorError("cursor of the upload sensor", f"cannot be read: {error}", remedy) from None
        return cursor

    def check(self) -> None:
        """Raises ValueError or TypeError where a field is not what it says."""
        plain = asdict(UploadCursor())
        for name, value in asdict(self).items():
            if type(value) is not type(plain[name]):
                raise TypeError(f"{name} is no {type(plain[name]).__name__}")
        for name, pattern in _SAFE.items():
            if not re.fullmatch(pattern, getattr(self, name)):
                raise ValueError(f"{name} is no hash")
        if [type(one) for one in self.served] != [str, str] or [type(n) for n in self.sweep_unmatched] != [int] * 3:
            raise TypeError("served or sweep_unmatched is not what it should be")
        if self.unfinished and [type(one) for one in self.unfinished] != [str, str, int]:
            raise TypeError("unfinished is not what it should be")

    def dump(self) -> str:
        """The cursor as text: ASCII, whatever the keys."""
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)

    @property
    def position(self) -> SweepPosition:
        """Where the sweep goes on."""
        return SweepPosition(self.sweep_after, self.sweep_inside)

    @property
    def begun(self) -> Unfinished | None:
        """The place that takes several steps; its shares are in the memory."""
        if not self.unfinished:
            return None
        place, after, settling = self.unfinished
        return Unfinished(place, after, {}, settling)

    def take_unmatched(self, found: str, made: str | None, table: str, now: int) -> str | None:
        """The run key for listing the unmatched anew, where the table has others; None otherwise.

        The same ones are asked for again once something else has been made of them than was asked for, or nothing in
        UNMATCHED_AGAIN_S.

        Args:
            found: the fingerprint of those that were seen; empty for none.
            made: that of those in the table; None where it is not known.
            table: the table's version. It is part of the key: what a tick that died asked for may have been run.
            now: epoch seconds.
        """
        if found == made:
            return None
        is_late = now - self.unmatched_asked >= UNMATCHED_AGAIN_S
        if (found, table) == (self.unmatched, self.unmatched_table) and not is_late:
            return None
        self.unmatched_generation += 1
        self.unmatched, self.unmatched_table, self.unmatched_asked = found, table, now
        return f"unmatched:{self.unmatched_generation}:{content_id(table)[:8]}:{found}"


def _of_version_1(stored: Mapping[str, Any]) -> UploadCursor:
    """Its fingerprints were made in another way: the manifests say what is done. No run key of it is used again."""
    if not isinstance(stored["seen"], dict):
        raise TypeError("seen is no mapping")
    generation = int(stored["generation"])
    return UploadCursor(generation=generation, unmatched_generation=generation)

"""What a sensor remembers of a source: a fingerprint for each partition, and how often it has changed.

A run key is remembered for ever by Dagster, so it must be new whenever something changed, also when earlier bytes
come back (A → B → A): the generation, raised at each change, sees to that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from video_assets.errors import VideoAssetsError

VERSION = 1
GONE = "gone"
"""The fingerprint of a partition that had uploads and has none now."""


class CursorError(VideoAssetsError):
    """A stored cursor that this version cannot read."""


@dataclass(frozen=True, slots=True)
class Change:
    """A partition whose uploads are not those that were seen last."""

    partition_key: str
    fingerprint: str
    generation: int

    @property
    def run_key(self) -> str:
        """Never the same twice for one partition."""
        return f"{self.partition_key}:{self.generation}:{self.fingerprint}"


@dataclass
class UploadCursor:
    """Fingerprints by partition key, and the generation that the next change gets.

    `unmatched` is the fingerprint of what belonged to no partition; empty where nothing did, or nobody looked.
    """

    generation: int = 0
    seen: dict[str, str] = field(default_factory=dict)
    unmatched: str = ""

    @classmethod
    def parse(cls, text: str | None) -> UploadCursor:
        """The cursor that `dump` wrote; a new one for None.

        Raises:
            CursorError: it is of another version or no cursor.
        """
        if not text:
            return cls()
        try:
            stored = json.loads(text)
            if stored["version"] != VERSION:
                raise ValueError(f"version {stored['version']}")
            return cls(int(stored["generation"]), dict(stored["seen"]), str(stored.get("unmatched", "")))
        except (ValueError, KeyError, TypeError) as error:
            remedy = "Clear the sensor's cursor in the UI: what the manifests have already is not made again."
            raise CursorError("cursor of the upload sensor", f"cannot be read: {error}", remedy) from None

    def dump(self) -> str:
        """The cursor as text."""
        stored = {"version": VERSION, **asdict(self)}
        return json.dumps(stored, sort_keys=True)

    def take_unmatched(self, fingerprint: str) -> str | None:
        """The run key for listing the unmatched anew, where they are not those that were seen last; None otherwise."""
        if fingerprint == self.unmatched:
            return None
        self.generation += 1
        self.unmatched = fingerprint
        return f"unmatched:{self.generation}:{fingerprint}"

    def take_changes(
        self, found: Mapping[str, str], limit: int, already: Callable[[str], str | None]
    ) -> tuple[list[Change], int]:
        """Up to `limit` changes, now remembered as seen; and how many more are left for the next tick.

        Args:
            found: the fingerprint of every partition that has uploads.
            already: the fingerprint that the tables have of a partition never seen before, None if they have none.
        """
        changes: list[Change] = []
        left = 0
        for key, fingerprint in sorted({**dict.fromkeys(self.seen, GONE), **found}.items()):
            if self.seen.get(key) == fingerprint:
                continue
            if len(changes) == limit:
                left += 1
            elif key not in self.seen and already(key) == fingerprint:
                self.seen[key] = fingerprint
            else:
                self.generation += 1
                self.seen[key] = fingerprint
                changes.append(Change(key, fingerprint, self.generation))
        return changes, left

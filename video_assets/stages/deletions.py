"""What becomes of the rows of videos that are gone from the source (SPEC R3).

Removal is refused where it looks like an accident: a wrong prefix, a lost mount, a lifecycle rule. What a partition
gave up before counts too, so that a rule which takes a little at a time is stopped as well.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from video_assets.errors import VideoAssetsError
from video_assets.keys import Partition, removed_key
from video_assets.storage.object_store import ObjectNotFound, ObjectStore
from video_assets.tables import VIDEO_MANIFEST

MAX_SHARE = 0.2
"""More of a partition than this is not removed without being told to."""

MIN_FOLDER = 2
"""A folder that held so many videos and holds none any more is not removed either."""


OnSourceDelete = Literal["keep", "remove", "force"]
"""`force` removes whatever is gone; it is said for one partition, never set for all."""


class MemoryDamaged(VideoAssetsError):
    """What a partition gave up earlier cannot be read: it is unknown, not nothing."""


@dataclass(frozen=True, slots=True)
class Removal:
    """The videos whose rows go. `gone` counts those whose rows stay; `refusal` says why, where none should."""

    paths: frozenset[str]
    refusal: str | None = None
    gone: int = 0

    def told(self, partition: Partition | None) -> str | None:
        """The refusal, and what to do; None where nothing was refused."""
        if self.refusal is None:
            return None
        command = f"video-assets remove-deleted '{partition}' --force"
        return f"{self.refusal}: no row was removed. Look at the source; if they were meant to go: {command}"


NOTHING_REMOVED = Removal(frozenset())


def decide_removal(
    gone: Collection[str], here: Collection[str], removed_before: Collection[str], *, forced: bool
) -> Removal:
    """Whether the rows of `gone` videos go.

    Args:
        gone: URIs that the manifest has and the source has not.
        here: URIs that the manifest had and the source has still.
        removed_before: URIs that went earlier, unless they are back.
        forced: somebody looked and said so, for this partition.
    """
    if not gone or forced:
        return Removal(frozenset(gone))
    lost = {*gone, *removed_before} - {*here}
    known = lost | {*here}
    if len(lost) > MAX_SHARE * len(known):
        earlier = f", {len(lost) - len(gone)} of them removed before" if len(lost) > len(gone) else ""
        share = f"{len(lost)} of {len(known)} videos are gone from the source{earlier}, more than {MAX_SHARE:.0%}"
        return Removal(frozenset(), share, len(gone))
    living = {_folder(path) for path in here}
    for folder in sorted({_folder(path) for path in gone} - living):
        if sum(_folder(path) == folder for path in lost) >= MIN_FOLDER:
            return Removal(frozenset(), f"nothing is left of {folder}/", len(gone))
    return Removal(frozenset(gone))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


class RemovedVideos:
    """The memory of a partition: which videos its manifest gave up since somebody last forced it."""

    def __init__(self, store: ObjectStore, partition: Partition) -> None:
        self._store = store
        self._key = removed_key(VIDEO_MANIFEST.name, partition)

    def read(self) -> set[str]:
        """Their URIs.

        Raises:
            MemoryDamaged: it is not what `write` wrote.
        """
        try:
            stored: Any = json.loads(self._store.get(self._key))
            return {str(path) for path in stored["removed"]}
        except ObjectNotFound:
            return set()
        except (ValueError, KeyError, TypeError) as error:
            remedy = "Delete this file: what is gone from then on is counted anew."
            raise MemoryDamaged(self._store.uri_of(self._key), f"cannot be read: {error}", remedy) from error

    def write(self, paths: Collection[str]) -> None:
        """Remembers these and no others."""
        if paths:
            self._store.put(self._key, json.dumps({"removed": sorted(paths)}).encode())
        else:
            self._store.delete(self._key)

"""What every kind of source gives: objects in the order of their keys, and what a key says.

A source is listed, or read from an inventory, a list or a catalogue in place of that; `listing.Listing` takes all of
them alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from video_assets.keys import Partition
from video_assets.path_template import KeyFields, PathTemplate
from video_assets.sources.parallel_listing import Report, list_in_parallel
from video_assets.storage.object_store import CommonPrefix, ObjectInfo, ObjectStore


class SourceStore(Protocol):
    """Where a source's objects lie, as an ObjectStore says it."""

    @property
    def uri(self) -> str:
        """What it is called in messages."""

    def uri_of(self, key: str) -> str:
        """The `video_path` of a key."""

    def key_of(self, uri: str) -> str | None:
        """The key of a `video_path`; None if it is of another source."""

    def head(self, key: str) -> ObjectInfo:
        """The object as it is now; raises ObjectNotFound."""


@dataclass(frozen=True, slots=True)
class ListedVideo(ObjectInfo):
    """An object of which a list says more than its key does; None where it does not."""

    vehicle: str | None = None
    date: str | None = None
    camera: str | None = None
    start_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry of a list or inventory that is no object. `text` is what it says, `reason` why not."""

    text: str
    reason: str


@dataclass
class Remarks:
    """What a reading of a source passed over, besides what every source may have."""

    faults: list[Fault] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)


class SourceObjects(Protocol):
    """One kind of source."""

    @property
    def kind(self) -> str:
        """The manifest's column `source`: listing, inventory, list or catalogue."""

    @property
    def store(self) -> SourceStore:
        """Where the objects lie."""

    def state(self) -> str | None:
        """Another text where `everything` would give other objects; None where only reading them all can tell."""

    def everything(self, remarks: Remarks, report: Report | None = None) -> Iterator[ObjectInfo]:
        """Every object in the order of the keys' UTF-8 bytes. `remarks` is filled as the iterator runs."""

    def fields(self, info: ObjectInfo, template: PathTemplate) -> KeyFields:
        """What an object's key says, and the list where it says more; raises Unmatched."""


@dataclass(frozen=True)
class StoreObjects:
    """A source that is listed."""

    store: ObjectStore
    kind: str = "listing"

    def state(self) -> None:
        """Nothing tells but a listing."""
        return

    def everything(self, remarks: Remarks, report: Report | None = None) -> Iterator[ObjectInfo]:
        return list_in_parallel(self.store, report=report)

    def fields(self, info: ObjectInfo, template: PathTemplate) -> KeyFields:
        return template.match(info.key, info.last_modified)

    def in_folders(self, partition: Partition, template: PathTemplate) -> Iterator[ObjectInfo]:
        """The objects of the folders that may hold a partition's uploads."""
        prefixes: dict[str, None] = {}
        for walk in template.walks(partition):
            prefixes.update(dict.fromkeys(_descend(self.store, walk)))
        for prefix in prefixes:
            yield from self.store.list(prefix)


def _descend(store: ObjectStore, walk: list[str | re.Pattern[str]], prefix: str = "") -> Iterator[str]:
    """The prefixes at the end of a walk; a level is listed only where its name is not known."""
    for depth, level in enumerate(walk):
        if isinstance(level, str):
            prefix += level + "/"
            continue
        for entry in store.list_level(prefix):
            if isinstance(entry, CommonPrefix) and level.fullmatch(entry.prefix[len(prefix) : -1]):
                yield from _descend(store, walk[depth + 1 :], entry.prefix)
        return
    yield prefix

"""Listing a source in bounded steps: what each step saw, and where the next one goes on.

A look covers a stretch of the sorted keys, and says all that there is in it. It is cut only between places, so that
what it says of a place is whole; what could not be listed is in no look. A place too large for one step is finished
over several (`Unfinished`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby, takewhile

from video_assets.keys import Partition
from video_assets.sources.listing import Listing, unmatched_scan
from video_assets.sources.partition_scan import PartitionScan
from video_assets.sources.upload_scan.layout import Stretch, UploadLayout
from video_assets.storage.object_store import ObjectInfo

PAGE_KEYS = 1000
"""Keys that one request lists (S3's limit)."""

GRACE_S = 5
"""How long after the end of a step a request is waited for. What comes later is not heard."""

BEYOND = "\udcff"
"""Sorts after whatever may follow a prefix: the byte FF."""


def key_bytes(key: str) -> bytes:
    """What keys are sorted by."""
    return key.encode("utf-8", "surrogateescape")


class Budget:
    """How long, and over how many pages, a step may go on. One is for one thread."""

    def __init__(self, seconds: float, pages: int) -> None:
        self.deadline = time.monotonic() + seconds
        self._keys = pages * PAGE_KEYS

    def ask(self) -> None:
        """Counts a request, which costs a page whatever it brings."""
        self._keys -= PAGE_KEYS

    def take_key(self) -> bool:
        """Counts a key; False where it is one too many."""
        self._keys -= 1
        return not self.is_spent

    @property
    def is_spent(self) -> bool:
        return self._keys < 0 or time.monotonic() >= self.deadline


@dataclass
class Unfinished:
    """What was seen of a place up to the key `after`, over several steps."""

    place: str
    after: str
    shares: dict[str, PartitionScan]
    settling: int = 0


@dataclass
class PassedOver:
    """What was seen and is no upload of any partition."""

    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    unmatched: PartitionScan = field(default_factory=PartitionScan)
    example: str = ""

    def include(self, other: PassedOver) -> None:
        """Takes what another look passed over."""
        self.skipped.update(other.skipped)
        self.examples = self.examples or other.examples
        self.unmatched.include(other.unmatched)
        self.example = self.example or other.example


@dataclass
class Look:
    """What there is of the places from `begin` to `end` (both included), by place and partition key.

    `settling` says of how many objects of a place it is too early to say anything. `is_cut` is set where the step ended
    before the stretch did: then `last_key` is the key to go on after.
    """

    begin: str
    end: str
    places: dict[str, dict[str, PartitionScan]] = field(default_factory=dict)
    settling: dict[str, int] = field(default_factory=dict)
    passed: PassedOver = field(default_factory=PassedOver)
    videos: int = 0
    is_cut: bool = False
    last_key: str = ""
    unfinished: Unfinished | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it came to the end of no place, and so says nothing."""
        return self.is_cut and not self.last_key


def look(
    listing: Listing, layout: UploadLayout, stretch: Stretch, budget: Budget, begun: Unfinished | None = None
) -> Look:
    """Lists a stretch until its end or that of the budget.

    Args:
        begun: what earlier steps saw of the place that the stretch begins with.

    Raises:
        StoreUnavailable, ObjectUnreadable: nothing is known of the stretch.
    """
    seen = Look(stretch.after or stretch.prefix, (stretch.last or stretch.prefix) + BEYOND)
    bound = key_bytes(seen.end)
    budget.ask()
    infos = listing.listed_store.list(stretch.prefix, start_after=begun.after if begun else stretch.after)
    within = takewhile(lambda info: key_bytes(info.key) < bound, infos)
    if begun:
        seen.begin = begun.place
    for place, group in groupby(within, key=lambda info: layout.place_of(info.key)):
        part = _Part(place, budget)
        if begun and begun.place == place:
            part.go_on_from(begun)
        elif begun:
            _keep(seen, _finished(begun), listing)
        begun = None
        part.take(group, listing)
        if part.is_cut and place is not None:
            seen.is_cut = True
            if not seen.last_key and part.last_key:
                seen.unfinished = Unfinished(place, part.last_key, part.shares, part.settling)
                take_passed(seen.passed, listing)
            forget_passed(listing)
            break
        _keep(seen, part, listing)
        if part.is_cut:
            seen.is_cut = True
            break
    else:
        if begun:
            _keep(seen, _finished(begun), listing)
    if seen.is_cut:
        seen.end = seen.last_key
    return seen


def whole_look(scans: Mapping[Partition, PartitionScan]) -> Look:
    """One look that covers everything, for a source that is read as a whole (an inventory, a list)."""
    videos = sum(scan.videos for scan in scans.values())
    return Look("", BEYOND, {"": {partition.key: scan for partition, scan in scans.items()}}, videos=videos)


class _Part:
    """A place, or what lies in none, as it is read."""

    def __init__(self, place: str | None, budget: Budget) -> None:
        self.place = place
        self.shares: dict[str, PartitionScan] = {}
        self.settling = 0
        self.last_key = ""
        self.is_cut = False
        self._budget = budget

    def go_on_from(self, begun: Unfinished) -> None:
        """What was begun is left as it is, so that a step that fails can be taken again."""
        self.shares = {key: replace(share) for key, share in begun.shares.items()}
        self.settling, self.last_key = begun.settling, begun.after

    def take(self, infos: Iterable[ObjectInfo], listing: Listing) -> None:
        settling = listing.skipped["settling"]
        for upload in listing.uploads(self._within_budget(infos)):
            info = upload.info
            share = self.shares.setdefault(upload.fields.partition.key, PartitionScan())
            share.add(info.key, info.size_bytes, info.etag)
        self.settling += listing.skipped["settling"] - settling

    def _within_budget(self, infos: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
        for info in infos:
            if not self._budget.take_key():
                self.is_cut = True
                return
            self.last_key = info.key
            yield info


def _finished(begun: Unfinished) -> _Part:
    part = _Part(begun.place, Budget(0, 0))
    part.go_on_from(begun)
    return part


def _keep(seen: Look, part: _Part, listing: Listing) -> None:
    """A part that is whole belongs to the look."""
    if part.place is not None and part.shares:
        seen.places[part.place] = part.shares
        seen.videos += sum(share.videos for share in part.shares.values())
    if part.place is not None and part.settling:
        seen.settling[part.place] = part.settling
    seen.last_key = part.last_key or seen.last_key
    take_passed(seen.passed, listing)


def take_passed(passed: PassedOver, listing: Listing) -> None:
    """Moves what a listing passed over so far to where it is counted."""
    if not listing.unmatched and not any(listing.skipped.values()):
        return
    found = PassedOver(Counter(+listing.skipped), listing.named_examples())
    found.unmatched = unmatched_scan(listing.unmatched)
    if listing.unmatched:
        first = listing.unmatched[0]
        found.example = f"{first.info.key}: {first.reason}"
    passed.include(found)
    forget_passed(listing)


def forget_passed(listing: Listing) -> None:
    """Counts anew: what was passed over belongs to no look."""
    listing.skipped.clear()
    listing.unmatched.clear()
    listing.examples.clear()

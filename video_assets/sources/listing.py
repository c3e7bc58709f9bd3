"""Uploads found by listing the source, and told apart by the path template.

What is no upload yet, or never one, is counted by reason; what belongs to no partition is named. Nothing is dropped in
silence.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import date as Date

from video_assets.keys import Partition
from video_assets.path_template import KeyFields, PathTemplate, Unmatched
from video_assets.storage.object_store import CommonPrefix, ObjectInfo, ObjectStore

SKIP_REASONS = ("folder", "empty", "extension", "settling")
"""Why an object is no upload (SPEC M3)."""

MAX_EXAMPLES = 5

DIGEST_BYTES = 16
_DIGEST_MASK = (1 << 8 * DIGEST_BYTES) - 1

GONE = "gone"
"""The fingerprint of a partition that had uploads and has none now."""

BEFORE_FIRST_DAY = "is of a day before the first"


@dataclass(frozen=True, slots=True)
class Upload:
    """One video of the source, and what its key says."""

    info: ObjectInfo
    fields: KeyFields


@dataclass(frozen=True, slots=True)
class UnmatchedUpload:
    """One video of the source that belongs to no partition, and why."""

    info: ObjectInfo
    reason: str

    @property
    def kind(self) -> str:
        """The reason without what is this video's own, to count by."""
        return self.reason.partition(": ")[0]


@dataclass
class Listing:
    """Reads a source: yields uploads, and keeps count of what it passed over.

    `skipped` counts objects by reason and `unmatched` keeps the videos that fit no partition, as the iterators run.
    `examples` names up to MAX_EXAMPLES keys for each reason to skip. Videos of days before `first_day` or in the future
    are unmatched.
    """

    store: ObjectStore
    template: PathTemplate
    settle_s: float
    first_day: Date
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    skipped: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(SKIP_REASONS, 0)))
    unmatched: list[UnmatchedUpload] = field(default_factory=list)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def partition(self, partition: Partition) -> Iterator[Upload]:
        """The partition's uploads; only folders that may hold some are listed."""
        prefixes: dict[str, None] = {}
        for walk in self.template.walks(partition):
            prefixes.update(dict.fromkeys(_descend(self.store, walk)))
        for prefix in prefixes:
            for upload in self.uploads(self.store.list(prefix)):
                if upload.fields.partition == partition:
                    yield upload

    def everything(self) -> Iterator[Upload]:
        """Every upload of the source, in the order of keys."""
        return self.uploads(self.store.list())

    def uploads(self, infos: Iterable[ObjectInfo]) -> Iterator[Upload]:
        """Those of these objects that are uploads; the others are counted."""
        for info in infos:
            if reason := self._skip_reason(info):
                self._skip(reason, info.key)
                continue
            try:
                fields = self.template.match(info.key, info.last_modified)
            except Unmatched as error:
                self.unmatched.append(UnmatchedUpload(info, error.cause))
                continue
            if reason := self._day_fault(fields.partition.date):
                self.unmatched.append(UnmatchedUpload(info, reason))
            else:
                yield Upload(info, fields)

    def again(self) -> Listing:
        """A listing of the same source at the same time that has counted nothing."""
        return Listing(self.store, self.template, self.settle_s, self.first_day, self.now)

    def passed_over(self) -> list[str]:
        """What was no upload or fits no partition, each kind in words; empty where there is none of it.

        For example `skipped 3 (1 empty, 2 settling)` and `15 unmatched, e.g. a/b.mp4: does not fit: …`.
        """
        told = []
        if skipped := self.skipped.total():
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items()) if count)
            told.append(f"skipped {skipped} ({reasons})")
        if self.unmatched:
            first = self.unmatched[0]
            told.append(f"{len(self.unmatched)} unmatched, e.g. {first.info.key}: {first.reason}")
        return told

    def named_examples(self) -> list[str]:
        """A line for each reason to skip, with the keys of some of those it befell."""
        return [
            f"skipped {self.skipped[reason]} {reason}: {', '.join(keys)}{', …' * (self.skipped[reason] > len(keys))}"
            for reason, keys in sorted(self.examples.items())
        ]

    def unmatched_fingerprint(self) -> str:
        """Changes when the unmatched videos or their reasons do; empty where there are none."""
        lines = sorted(f"{u.info.key}\0{u.info.etag}\0{u.reason}\n" for u in self.unmatched)
        text = "".join(lines).encode("utf-8", "surrogateescape")
        return hashlib.sha256(text).hexdigest()[:16] if lines else ""

    def _skip(self, reason: str, key: str) -> None:
        self.skipped[reason] += 1
        if len(examples := self.examples.setdefault(reason, [])) < MAX_EXAMPLES:
            examples.append(key)

    def _day_fault(self, day: str) -> str:
        """A vehicle whose clock is dead sends videos of 1970; a day that Dagster has no partition for stops a run."""
        if day < self.first_day.isoformat():
            return f"{BEFORE_FIRST_DAY}: {day}, and the first is {self.first_day} (VIDEO_ASSETS_START_DATE)"
        today = self.now.astimezone(self.template.fleet_zone).date().isoformat()
        return f"is of a day in the future: {day}" if day > today else ""

    def _skip_reason(self, info: ObjectInfo) -> str | None:
        if info.key.endswith("/"):
            return "folder"
        if info.size_bytes == 0:
            return "empty"
        if not info.key.lower().endswith(self.template.extensions):
            return "extension"
        # An upload from a clock that is ahead by more than this would settle for ever: it counts as settled.
        if abs(self.now - info.last_modified) < timedelta(seconds=self.settle_s):
            return "settling"
        return None


@dataclass(slots=True)
class PartitionScan:
    """What a scan saw of one partition, or of a part of it.

    `fingerprint` changes when any upload comes, changes or goes.
    `digest` is the sum of each upload's hash (a multiset hash: Clarke et al., ASIACRYPT 2003), so that uploads may come
    in any order, and scans of parts add up to that of the whole.
    """

    videos: int = 0
    size_bytes: int = 0
    digest: int = 0

    def add(self, key: str, size_bytes: int, etag: str) -> None:
        """Takes one more upload."""
        text = f"{key}\0{size_bytes}\0{etag}\n".encode("utf-8", "surrogateescape")
        self.videos += 1
        self.size_bytes += size_bytes
        upload = int.from_bytes(hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest(), "big")
        self.digest = (self.digest + upload) & _DIGEST_MASK

    def include(self, part: PartitionScan) -> None:
        """Takes what was seen of another part of the partition."""
        self.videos += part.videos
        self.size_bytes += part.size_bytes
        self.digest = (self.digest + part.digest) & _DIGEST_MASK

    def exclude(self, part: PartitionScan) -> None:
        """Takes away what was included."""
        self.videos -= part.videos
        self.size_bytes -= part.size_bytes
        self.digest = (self.digest - part.digest) & _DIGEST_MASK

    @property
    def fingerprint(self) -> str:
        """Hash of the set of every (key, size, etag); GONE where there is none."""
        if not self.videos:
            return GONE
        return hashlib.sha256(self.digest.to_bytes(DIGEST_BYTES, "big")).hexdigest()[:16]


def scan_partitions(uploads: Iterable[Upload]) -> dict[Partition, PartitionScan]:
    """What a whole listing holds, by partition."""
    scans: dict[Partition, PartitionScan] = {}
    for upload in uploads:
        info = upload.info
        scans.setdefault(upload.fields.partition, PartitionScan()).add(info.key, info.size_bytes, info.etag)
    return scans


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

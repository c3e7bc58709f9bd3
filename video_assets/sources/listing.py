"""Uploads of the source, told apart by the path template.

What is no upload yet, or never one, is counted by reason; what belongs to no partition is named. Nothing is dropped in
silence. The objects are those of a listing, an inventory, a list or a catalogue (`source_objects`).
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from datetime import date as Date

from video_assets.keys import Partition
from video_assets.path_template import KeyFields, PathTemplate, Unmatched
from video_assets.plural import counted
from video_assets.sources.catalogue.videos import CatalogueVideos
from video_assets.sources.listing_files import ListingFiles, SourceReading
from video_assets.sources.parallel_listing import Report
from video_assets.sources.partition_scan import PartitionScan, Upload, scan_partitions
from video_assets.sources.source_objects import Remarks, SourceObjects, SourceStore, StoreObjects
from video_assets.storage.object_keys import printable_key
from video_assets.storage.object_store import InvalidKey, ObjectInfo, ObjectNotFound, ObjectStore, ObjectUnreadable

SKIP_REASONS = ("folder", "empty", "extension", "settling")
"""Why an object is no upload (SPEC M3)."""

MAX_EXAMPLES = 5

BEFORE_FIRST_DAY = "is of a day before the first"


LOOKS = 8
"""How many objects are looked at again at a time."""

REPORT_S = 10.0
"""How often progress is told."""


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
    are unmatched. `told` is what else is to be known of the source: how old an inventory is, say. `why_nothing` says
    what to change where all of it was read and held no upload. `stated` is what an inventory or a list said of the
    partition that was read; its objects may be other by now.

    Where a partition has no folders of its own, or the source is no listing, its objects are those of a listing file
    (`files`), which `everything` writes, and each is looked at again. Without `files` the whole source is read instead.
    """

    objects: SourceObjects
    template: PathTemplate
    settle_s: float
    first_day: Date
    files: ListingFiles | None = None
    report: Callable[[str], None] | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    skipped: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(SKIP_REASONS, 0)), init=False)
    unmatched: list[UnmatchedUpload] = field(default_factory=list, init=False)
    examples: dict[str, list[str]] = field(default_factory=dict, init=False)
    told: list[str] = field(default_factory=list, init=False)
    why_nothing: str = field(default="", init=False)
    stated: PartitionScan | None = field(default=None, init=False)
    _unmatched_before: str | None = field(default=None, init=False)

    @property
    def store(self) -> SourceStore:
        """Where the objects lie."""
        return self.objects.store

    def partition(self, partition: Partition) -> Iterator[Upload]:
        """The partition's uploads; of a source that is listed, only folders that may hold some are."""
        for upload in self.uploads(self._objects_of(partition)):
            if upload.fields.partition == partition:
                yield upload

    def everything(self) -> Iterator[Upload]:
        """Every upload of the source, in the order of keys. Once all are given, the listing files are up to date."""
        remarks, uploads = Remarks(), 0
        infos = self.objects.everything(remarks, self._progress())
        with self._reading() if self._reads_files else contextlib.nullcontext() as reading:
            for upload in self.uploads(infos, reading):
                uploads += 1
                yield upload
            self._take(remarks)
            if reading is not None:
                reading.finish({"skipped": dict(self.skipped), "unmatched": self.unmatched_fingerprint()})
        if not uploads:
            self.why_nothing = self._why_nothing()

    def scans(self) -> dict[Partition, PartitionScan]:
        """What the whole source holds, by partition. An inventory or a list that has not changed is not read again."""
        state = self.state()
        index = self.files.index(state) if self.files and state is not None else None
        if index is None or index.counts["skipped"]["settling"]:
            return scan_partitions(self.everything())
        self.skipped.update(index.counts["skipped"])
        self._unmatched_before = index.counts["unmatched"]
        self.told.append(f"the {self.objects.kind} is that of {index.begun_at:%Y-%m-%d %H:%M} UTC, unchanged")
        return index.scans()

    def again(self) -> Listing:
        """A listing of the same source at the same time that has counted nothing."""
        return replace(self)

    def saw_news(self) -> None:
        """To be called by who saw changes without reading everything: what the listing files say is old now."""
        if self.files is not None and self._reads_files:
            self.files.expire()

    @property
    def _reads_files(self) -> bool:
        has_folders = isinstance(self.objects, StoreObjects) and self.template.parts_folders
        return self.files is not None and not has_folders

    def _objects_of(self, partition: Partition) -> Iterable[ObjectInfo]:
        if self.files is not None and self._reads_files:
            index = self.files.renewed(self.state(), self._read_all)
            self.told.append(f"from the {self.objects.kind} as it was at {index.begun_at:%Y-%m-%d %H:%M:%S} UTC")
            if not isinstance(self.objects, StoreObjects):
                self.stated = index.scan(partition)
            return self._as_they_are(self.files.read(partition, index))
        if isinstance(self.objects, StoreObjects):
            return self.objects.in_folders(partition, self.template)
        if isinstance(self.objects, CatalogueVideos):
            return self.objects.of_partition(partition)
        return self.objects.everything(Remarks())

    def _read_all(self) -> None:
        """Writes the listing files. What is passed over on the way is no matter of one partition's."""
        deque(self.again().everything(), maxlen=0)

    def _as_they_are(self, infos: list[ObjectInfo]) -> Iterator[ObjectInfo]:
        """The objects as they are now; those that are gone are skipped."""
        with ThreadPoolExecutor(LOOKS) as pool:
            for info, now in zip(infos, pool.map(self._look, infos), strict=True):
                if now is None:
                    self._skip("gone", info.key)
                else:
                    yield replace(info, size_bytes=now.size_bytes, etag=now.etag, last_modified=now.last_modified)

    def _look(self, info: ObjectInfo) -> ObjectInfo | None:
        try:
            return self.store.head(info.key)
        except ObjectNotFound:
            return None
        except (InvalidKey, ObjectUnreadable):
            # It is there, and becomes a failed row of `clips` that says what is wrong with it.
            return info

    def state(self) -> str | None:
        """The source's state, and the day: what lies in the future today does not tomorrow."""
        state = self.objects.state()
        return state and f"{state} {self._today()}"

    def _reading(self) -> SourceReading:
        assert self.files is not None
        return SourceReading(self.files, self.state())

    def uploads(self, infos: Iterable[ObjectInfo], reading: SourceReading | None = None) -> Iterator[Upload]:
        """Those of these objects that are uploads; the others are counted."""
        for info in infos:
            if reason := skip_reason(info, self.template.extensions, self.settle_s, self.now):
                self._skip(reason, info.key)
                if reading is not None and reason in ("empty", "settling"):
                    with contextlib.suppress(Unmatched):
                        reading.add(self._fields(info).partition, info, is_upload=False)
                continue
            try:
                fields = self._fields(info)
            except Unmatched as error:
                self.unmatched.append(UnmatchedUpload(info, error.cause))
                continue
            if reading is not None:
                reading.add(fields.partition, info, is_upload=True)
            yield Upload(info, fields)

    def _fields(self, info: ObjectInfo) -> KeyFields:
        fields = self.objects.fields(info, self.template)
        if fault := self._day_fault(fields.partition.date):
            raise Unmatched(info.key, fault)
        return fields

    def _take(self, remarks: Remarks) -> None:
        epoch = datetime.fromtimestamp(0, UTC)
        self.unmatched += [UnmatchedUpload(ObjectInfo(f.text, 0, "", epoch), f.reason) for f in remarks.faults]
        self.skipped.update(remarks.skipped)
        self.told += remarks.told

    def _progress(self) -> Report | None:
        """Tells the report, now and then, how far the reading is."""
        if (report := self.report) is None:
            return None
        begun = told = time.monotonic()

        def tell(count: int, key: str) -> None:
            nonlocal told
            if (now := time.monotonic()) - told >= REPORT_S:
                told = now
                report(f"{count:,} objects so far, {count / (now - begun):,.0f} a second, now at {printable_key(key)}")

        return tell

    def _why_nothing(self) -> str:
        """What to change where a source holds no upload."""
        place = f"no upload in {self.store.uri}"
        if self.unmatched:
            videos = counted(len(self.unmatched), "video")
            return f"{place}: {videos}, none of which fits. Set VIDEO_ASSETS_PATH_TEMPLATE to your keys."
        if self.skipped.total():
            objects = counted(self.skipped.total(), "object")
            return f"{place}: {objects}, none a video that counts. Look at VIDEO_EXTENSIONS."
        return f"{place}: nothing lies there. Look at VIDEO_ASSETS_SOURCE: case counts, and a prefix is a whole folder."

    @property
    def listed_store(self) -> ObjectStore:
        """The store whose keys are the source; only of a source that is listed."""
        assert isinstance(self.objects, StoreObjects)
        return self.objects.store

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
        return [*self.told, *filter(None, (self.why_nothing,))] + [
            f"skipped {self.skipped[reason]} {reason}: {', '.join(keys)}{', …' * (self.skipped[reason] > len(keys))}"
            for reason, keys in sorted(self.examples.items())
        ]

    def unmatched_fingerprint(self) -> str:
        """Changes when the unmatched videos or their reasons do; empty where there are none."""
        if self._unmatched_before is not None:
            return self._unmatched_before
        return unmatched_scan(self.unmatched).fingerprint if self.unmatched else ""

    def _skip(self, reason: str, key: str) -> None:
        self.skipped[reason] += 1
        if len(examples := self.examples.setdefault(reason, [])) < MAX_EXAMPLES:
            examples.append(key)

    def _day_fault(self, day: str) -> str:
        """A vehicle whose clock is dead sends videos of 1970; a day that Dagster has no partition for stops a run."""
        if day < self.first_day.isoformat():
            return f"{BEFORE_FIRST_DAY}: {day}, and the first is {self.first_day} (VIDEO_ASSETS_START_DATE)"
        return f"is of a day in the future: {day}" if day > self._today() else ""

    def _today(self) -> str:
        return self.now.astimezone(self.template.fleet_zone).date().isoformat()


def unmatched_scan(unmatched: Iterable[UnmatchedUpload]) -> PartitionScan:
    """The unmatched videos as a scan sees a partition: the same ones for the same reasons have the same fingerprint."""
    scan = PartitionScan()
    for video in unmatched:
        scan.add(f"{video.info.key}\0{video.reason}", video.info.size_bytes, video.info.etag)
    return scan


def skip_reason(info: ObjectInfo, extensions: tuple[str, ...], settle_s: float, now: datetime) -> str | None:
    """Why an object is no upload, one of SKIP_REASONS; None where it is one."""
    if info.key.endswith("/"):
        return "folder"
    is_video = info.key.lower().endswith(extensions)
    # An upload from a clock that is ahead by more than this would settle for ever: it counts as settled.
    is_young = abs(now - info.last_modified) < timedelta(seconds=settle_s)
    if info.size_bytes == 0 and not (is_video and is_young):
        # A file that is written over is empty for a moment: that is not its end.
        return "empty"
    if not is_video:
        return "extension"
    return "settling" if is_young else None

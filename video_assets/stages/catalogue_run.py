"""Working a catalogue off: records claimed in batches, newest first, their videos through the stages, flags at the end.

Flags and leases alone decide what is left. A record's flags are set when its tables are committed and were read back,
so that a kill at any moment leaves records that the next run goes on with, and nothing that is said to be there and is
not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from video_assets.embedding.errors import EmbedderUnavailable
from video_assets.keys import Partition
from video_assets.plural import counted
from video_assets.sources.catalogue.checkpoint import Checkpoint
from video_assets.sources.catalogue.claims import Claims, Ending
from video_assets.sources.catalogue.lease import Lease
from video_assets.sources.catalogue.records import Record
from video_assets.sources.partition_scan import Upload
from video_assets.stages.catalogue_outputs import outputs
from video_assets.stages.catalogue_partition import PartitionVideos, VideoRows
from video_assets.stages.catalogue_uploads import failed, found_uploads
from video_assets.stages.items import StageStopped
from video_assets.storage.object_store import LockTimeout, StoreUnavailable
from video_assets.table_store.odps_errors import OdpsUnavailable
from video_assets.table_store.table_store import CommitConflict
from video_assets.vectors.index_errors import VectorIndexError
from video_assets.video.scenes import SceneDetectionUnavailable
from video_assets.work.failure_text import describe
from video_assets.work.pool import WorkerStartError

PUBLISH_S = 20.0
"""How often what is worked off goes into the tables: each time costs a reading of the partition's tables."""

EVERYONES = (
    StageStopped,
    StoreUnavailable,
    EmbedderUnavailable,
    SceneDetectionUnavailable,
    VectorIndexError,
    WorkerStartError,
    LockTimeout,
    OdpsUnavailable,
    CommitConflict,
)
"""Errors that are no record's fault: the run ends with them, and no record is charged."""


@dataclass
class RunCounts:
    """What a run did. `waiting` are uploads that were too young; `untried` were claimed and given back."""

    done: int = 0
    failed: int = 0
    waiting: int = 0
    untried: int = 0
    batches: int = 0

    def __str__(self) -> str:
        parts = [f"{counted(self.done, 'record')} done", f"{self.failed} failed"]
        parts += [f"{self.waiting} too young"] if self.waiting else []
        parts += [f"{self.untried} given back untried"] if self.untried else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A record in hand whose video was found; `rows` is what was made of it, once it is worked off."""

    record: Record
    upload: Upload
    rows: VideoRows | None = None

    @property
    def partition(self) -> Partition:
        return self.upload.fields.partition


@dataclass
class CatalogueRun:
    """One process that works a catalogue off.

    Attributes:
        stop: set from outside (a signal): nothing more is begun, and what is in hand is finished.
        report: takes lines on how far it is; `detail` one for each record.
    """

    videos: PartitionVideos
    claims: Claims
    lease: Lease
    checkpoint: Checkpoint
    batch_size: int
    workers: int
    stop: threading.Event
    report: Callable[[str], None]
    detail: Callable[[str], None]
    counts: RunCounts = field(default_factory=RunCounts)

    def run(self) -> RunCounts:
        """Claims and works until nothing is due, or `stop` is set.

        Raises:
            VideoAssetsError: one of EVERYONES, or the database is away for too long. What is done is kept.
        """
        self.videos.sweep()
        while not self.stop.is_set():
            records = self.claims.take(self.batch_size)
            if not records:
                break
            self.counts.batches += 1
            self.lease.hold(record.id for record in records)
            self.report(f"batch {self.counts.batches}: {counted(len(records), 'record')}, newest {records[0].code}")
            try:
                self._work_off(records)
            finally:
                self._give_back()
        return self.counts

    def _give_back(self) -> None:
        """Releases what is still in hand; if the database is away, the leases end by themselves."""
        if left := self.lease.held():
            self.lease.drop(left)
            self.counts.untried += len(left)
            self.claims.release(left)

    def _work_off(self, records: Sequence[Record]) -> None:
        taken = self._found(records)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="record") as pool:
            begun = {pool.submit(self.videos.ahead, one.partition, one.upload): one for one in taken}
            try:
                self._collect(begun)
            finally:
                for future in begun:
                    future.cancel()

    def _collect(self, begun: dict[Future[VideoRows], _Taken]) -> None:
        """Takes what is worked off as it ends, and publishes it now and then."""
        pending, finished, published_at = {*begun}, list[_Taken](), time.monotonic()
        fault: BaseException | None = None
        while pending:
            ended, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in ended:
                fault = self._take(future, begun[future], finished) or fault
            if self.stop.is_set() or fault is not None:
                # Those under way cannot be cancelled: they are finished.
                pending -= {future for future in pending if future.cancel()}
            if finished and time.monotonic() - published_at >= PUBLISH_S:
                self._publish(finished)
                finished, published_at = [], time.monotonic()
        self._publish(finished)
        if fault is not None:
            raise fault

    def _take(self, future: Future[VideoRows], taken: _Taken, finished: list[_Taken]) -> BaseException | None:
        """What is to end the run; None where nothing is."""
        if future.cancelled():
            return None
        error = future.exception()
        if error is None:
            finished.append(replace(taken, rows=future.result()))
        elif isinstance(error, EVERYONES):
            return error
        else:
            self._end([failed(taken.record, "work", describe(error))])
        return None

    def _found(self, records: Sequence[Record]) -> list[_Taken]:
        """The records whose videos are there; of the others it is written why not."""
        found, endings = found_uploads(records, self.videos.listing, self.videos.settings)
        self._end(endings)
        return [_Taken(*one) for one in found]

    def _publish(self, finished: Sequence[_Taken]) -> None:
        """Brings the tables of these records' partitions up to them, reads them back, and sets the flags."""
        by_partition: dict[Partition, list[_Taken]] = {}
        for one in finished:
            by_partition.setdefault(one.partition, []).append(one)
        for partition in sorted(by_partition, reverse=True):
            taken = by_partition[partition]
            try:
                self.videos.publish(partition, [one.rows for one in taken if one.rows is not None], self.detail)
                self._end(self._read_back(partition, taken))
            except EVERYONES:
                raise
            except Exception as error:
                # A damaged table, say: the other partitions are not to suffer for it.
                self._end([failed(one.record, "tables", describe(error)) for one in taken])

    def _read_back(self, partition: Partition, taken: Sequence[_Taken]) -> list[Ending]:
        uri_of = self.videos.listing.store.uri_of
        paths = {one.record.id: uri_of(one.upload.info.key) for one in taken}
        found = outputs(partition, paths.values(), self.videos.tables, self.videos.settings)
        return [found[path].ending(record_id) for record_id, path in paths.items()]

    def _end(self, endings: Sequence[Ending]) -> None:
        """Writes what became of records, and counts those that were still ours."""
        if not endings:
            return
        written = self.claims.end(endings)
        self.lease.drop(ending.record_id for ending in endings)
        mine = [ending for ending in endings if ending.record_id in written]
        for ending in mine:
            self.detail(f"record {ending.record_id}: {ending.kind}" + (f": {ending.message}" if ending.message else ""))
        kinds = [ending.kind for ending in mine]
        self.counts.done += kinds.count("done")
        self.counts.failed += kinds.count("failed")
        self.counts.waiting += kinds.count("waiting")
        if tried := len(kinds) - kinds.count("waiting"):
            last = [ending.record_id for ending in mine if ending.kind != "waiting"][-1]
            self.checkpoint.add(last, tried, kinds.count("failed"))
            self.report(str(self.counts))

"""Which partitions run now: in turn, each once for each change, and none that is made already."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from video_assets.keys import Partition
from video_assets.sources.partition_scan import GONE
from video_assets.sources.source_objects import SourceStore
from video_assets.sources.upload_scan.cursor import Change, UploadCursor
from video_assets.sources.upload_scan.memory import Asked, UploadMemory
from video_assets.sources.upload_scan.turns import in_turn, vehicle_of
from video_assets.stages.manifest_scan import listed_fingerprint, manifest_scan
from video_assets.table_store.odps_errors import OdpsUnavailable
from video_assets.table_store.table_store import TableError, TableStore

CONFIRM_S = 2.0
"""How long manifests may be read in one tick."""

THREADS = 8
BATCH = 64


@dataclass(frozen=True, slots=True)
class MadeManifest:
    """A record of the history: a run made this partition's manifest. `run_key` is empty where no sensor asked."""

    record: int
    partition_key: str
    run_key: str


class History(Protocol):
    """What was reported of `raw_uploads` before, by this sensor or another, and what runs made."""

    def made_manifests(self, after: int, limit: int) -> list[MadeManifest]:
        """The first records after this one; of -1, the latest alone."""

    def partitions(self) -> Iterable[str]:
        """The keys of all partitions that something was ever reported of `raw_uploads`, or whose manifest was made."""

    def last(self, partition_keys: list[str]) -> Mapping[str, tuple[int, str]]:
        """The generation (0 where none was said) and fingerprint reported last, of those that have one."""

    def has_ended(self, run_key: str) -> bool:
        """Whether a run with this key was launched and is over."""


def note_made(
    cursor: UploadCursor,
    memory: UploadMemory,
    *,
    tables: TableStore,
    source: SourceStore,
    history: History,
    is_listing: bool = True,
) -> bool:
    """Takes what runs have made since the last tick, before anything is looked at.

    A manifest that is not what was asked for is compared with what the next look sees: so bytes that a run saw and that
    were put back before any look are noticed, and what a run saw before the look did is not made twice.

    Args:
        is_listing: whether the source is listed. An inventory or a list is older than what runs read.

    Returns:
        Whether that was all: after a week of backfills without the sensor it takes some ticks.

    Raises:
        OdpsUnavailable, StoreUnavailable: the manifests cannot be read now.
    """
    if cursor.made_after < 0:
        cursor.made_after = max([0, *(one.record for one in history.made_manifests(-1, 1))])
        return True
    deadline = time.monotonic() + CONFIRM_S / 2
    with ThreadPoolExecutor(THREADS, "manifests") as pool:
        while records := history.made_manifests(cursor.made_after, BATCH):
            if time.monotonic() >= deadline:
                return False
            last = {one.partition_key: one for one in records}
            made = pool.map(lambda key: _listed(key, tables, source, is_listing=is_listing), last)
            for one, fingerprint in zip(last.values(), made, strict=True):
                memory.note_made(one.partition_key, fingerprint, one.run_key, cursor.generation, cursor.sweeps)
            cursor.made_after = records[-1].record
    return True


def take_changes(
    cursor: UploadCursor,
    memory: UploadMemory,
    room: int,
    *,
    first_fresh_date: str,
    tables: TableStore,
    source: SourceStore,
    history: History,
    is_listing: bool = True,
    knows_made: bool = True,
) -> list[Change]:
    """Up to `room` changes, now remembered as asked for.

    A partition of which this memory has asked for nothing yet is compared with its manifest first: what is made is not
    made again. A generation goes on from what was reported last: a tick that is taken again, after a crash or with its
    memory lost, gives the same run key for the same uploads, which Dagster runs once, and no other one again. Where
    that run is over, and the manifest is not what was seen, another is needed.

    Args:
        knows_made: whether the memory knows all that runs have made; if not, every manifest is looked at first.
    """
    deadline = time.monotonic() + CONFIRM_S
    turns = in_turn(memory.waiting(), first_fresh_date, cursor.served)
    taken: list[str] = []
    with ThreadPoolExecutor(THREADS, "manifests") as pool:
        while len(taken) < room and time.monotonic() < deadline and (batch := list(islice(turns, BATCH))):
            unsure = [key for key in batch if not memory.asked[key].is_sure]
            made = dict(zip(unsure, pool.map(lambda key: _made(key, tables, source), unsure), strict=True))
            if not knows_made:
                sure = [key for key in batch if key not in made]
                found_made = pool.map(lambda key: _listed(key, tables, source, is_listing=is_listing), sure)
                made |= dict(zip(sure, found_made, strict=True))
            for key in batch:
                found, asked = memory.fingerprint(key), memory.asked[key]
                if key in made and made[key] == found:
                    memory.settle(key, Asked(found, asked.generation, is_sure=True))
                elif len(taken) < room:
                    taken.append(key)
    return _ask_for(taken, cursor, memory, history, first_fresh_date)


def _ask_for(
    keys: list[str], cursor: UploadCursor, memory: UploadMemory, history: History, first_fresh_date: str
) -> list[Change]:
    reported = history.last(keys)
    changes = []
    for key in keys:
        found, asked = memory.fingerprint(key), memory.asked[key]
        generation, fingerprint = reported.get(key, (0, ""))
        change = Change(key, found, generation)
        is_same = fingerprint == found and generation > asked.generation and not history.has_ended(change.run_key)
        if not is_same:
            change = Change(key, found, max(generation, asked.generation) + 1)
        changes.append(change)
        memory.settle(key, Asked(found, change.generation, is_sure=True, is_awaited=True))
        cursor.served[key < first_fresh_date] = vehicle_of(key)
    return changes


def _listed(partition_key: str, tables: TableStore, source: SourceStore, *, is_listing: bool) -> str:
    """What a run saw that has made a manifest just now.

    Of a listing, as the run noted it: rows may stay of videos that are listed no more, and no further run changes that.
    """
    if is_listing and (fingerprint := listed_fingerprint(Partition.from_key(partition_key), tables)) is not None:
        return fingerprint
    return _made(partition_key, tables, source)


def _made(partition_key: str, tables: TableStore, source: SourceStore) -> str:
    """The fingerprint of what the manifest has; empty where it cannot be read, which a run mends or tells."""
    try:
        scan = manifest_scan(Partition.from_key(partition_key), tables, source)
    except OdpsUnavailable:
        raise
    except TableError:
        return ""
    return scan.fingerprint if scan else GONE

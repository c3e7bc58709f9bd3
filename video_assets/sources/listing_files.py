"""A listing file for each partition, where a partition's objects cannot be listed by themselves.

`listings/index.json` in the home says of the last whole reading of the source: when it began, of what it was, and for
each partition the name of its file. A file `listings/date=…/vehicle=…/<hash of its contents>.parquet` holds the
partition's objects, also those that are no upload yet. It is written before the index that names it, only if it has
changed, and removed after the index that does not. A reading that was overtaken by a later one writes nothing.

The index is good for `max_age_s` after the reading's end where only a listing can tell what is new; of an inventory or
a list it is good until that is another, or the fleet's day ends. Who finds it too old reads the source anew, once:
others wait.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from video_assets.keys import Partition
from video_assets.sources.partition_scan import PartitionScan
from video_assets.sources.source_objects import ListedVideo
from video_assets.sources.spool import Spool
from video_assets.storage.object_store import ObjectInfo, ObjectNotFound, ObjectStore, StoreUnavailable
from video_assets.storage.registry import open_store

ROOT = "listings/"
INDEX = f"{ROOT}index.json"
VERSION = 1

SCAN_WAIT_S = 3600
"""How long a run waits for another's reading of the source."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_EXPIRED = "expired"

_TIME = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    [
        ("key", pa.binary()),
        ("size_bytes", pa.int64()),
        ("etag", pa.string()),
        ("last_modified", _TIME),
        ("vehicle", pa.string()),
        ("date", pa.string()),
        ("camera", pa.string()),
        ("start_time", _TIME),
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One partition in the index: the name of its file, and its uploads as they were then."""

    file: str
    videos: int
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class Index:
    """A whole reading of the source. `state` is the source's, None where it has none; `counts` what was passed over."""

    identity: str
    state: str | None
    begun_at: datetime
    ended_at: datetime
    entries: dict[str, Entry]
    counts: dict[str, Any] = field(default_factory=dict)

    def scans(self) -> dict[Partition, PartitionScan]:
        """As `scan_partitions` found them."""
        return {
            Partition.from_key(key): PartitionScan(entry.videos, entry.size_bytes, int(entry.digest, 16))
            for key, entry in self.entries.items()
            if entry.videos
        }

    def scan(self, partition: Partition) -> PartitionScan:
        """What the reading found of one partition."""
        entry = self.entries.get(partition.key)
        return PartitionScan(entry.videos, entry.size_bytes, int(entry.digest, 16)) if entry else PartitionScan()


@dataclass(frozen=True)
class ListingFiles:
    """The listing files of one source and template, named by `identity`, in the deployment's store."""

    home_uri: str
    identity: str
    max_age_s: float

    @cached_property
    def home(self) -> ObjectStore:
        """The deployment's store, opened when it is first needed."""
        return open_store(self.home_uri, create=True)

    def index(self, state: str | None) -> Index | None:
        """The index, where it is of this source in this state and not too old."""
        index = self._of_source()
        if index is None or index.state != state:
            return None
        is_old = datetime.now(UTC) - index.ended_at > timedelta(seconds=self.max_age_s)
        return None if is_old and state is None else index

    def renewed(self, state: str | None, read_source: Callable[[], None]) -> Index:
        """The index; `read_source` is called if there is none that is good, by one caller among all at a time."""
        asked_at = datetime.now(UTC)
        if index := self.index(state):
            return index
        with self.home.lock("read source", timeout_s=SCAN_WAIT_S):
            index = self._of_source()
            # What another has read meanwhile is good, however old that made it.
            if index is None or index.state != state or index.ended_at < asked_at:
                read_source()
                index = self._of_source()
        if index is None:
            raise StoreUnavailable(
                f"{self.home.uri}/{INDEX}",
                "was overwritten by a deployment with another source or template",
                "Give every deployment a VIDEO_ASSETS_STORE of its own.",
            )
        return index

    def expire(self) -> None:
        """Makes the index too old; the files stay until they are replaced."""
        with self.home.lock("listings", timeout_s=SCAN_WAIT_S):
            index = self._of_source()
            if index is not None:
                self._put(replace(index, state=_EXPIRED if index.state is not None else None, ended_at=_LONG_AGO))

    def read(self, partition: Partition, index: Index) -> list[ObjectInfo]:
        """The objects of a partition, in the order of keys."""
        entry = index.entries.get(partition.key)
        if entry is None:
            return []
        try:
            data = self.home.get(_file_key(partition.key, entry.file))
        except ObjectNotFound:
            later = self._stored()
            if later is None or later.begun_at == index.begun_at:
                raise
            return self.read(partition, later)
        return [_object(row) for row in pq.read_table(io.BytesIO(data)).to_pylist()]

    def _of_source(self) -> Index | None:
        index = self._stored()
        return index if index is not None and index.identity == self.identity else None

    def _stored(self) -> Index | None:
        try:
            stored = json.loads(self.home.get(INDEX))
            if stored.pop("version") != VERSION:
                return None
            entries = {str(key): Entry(*entry) for key, entry in stored.pop("entries").items()}
            begun_at, ended_at = (datetime.fromisoformat(stored.pop(name)) for name in ("begun_at", "ended_at"))
            return Index(entries=entries, begun_at=begun_at, ended_at=ended_at, **stored)
        except (ObjectNotFound, ValueError, TypeError, KeyError):
            return None

    def publish(self, begun_at: datetime, state: str | None, counts: dict[str, Any], spool: Spool, scans: Any) -> None:
        """Writes what has changed; see `SourceReading.finish`."""
        with self.home.lock("listings", timeout_s=SCAN_WAIT_S):
            before = self._stored()
            if before is not None and before.begun_at > begun_at and before.identity == self.identity:
                return
            old = {key: entry.file for key, entry in before.entries.items()} if before else {}
            entries = {}
            for name, group in groupby(spool.sorted(), key=itemgetter(0)):
                key = name.decode()
                file = self._write(key, [record for _, record in group], old.get(key))
                scan = scans.get(key, PartitionScan())
                entries[key] = Entry(file, scan.videos, scan.size_bytes, f"{scan.digest:x}")
            self._put(Index(self.identity, state, begun_at, datetime.now(UTC), entries, counts))
            for key, file in old.items():
                if key not in entries or entries[key].file != file:
                    self.home.delete(_file_key(key, file))

    def _put(self, index: Index) -> None:
        stored = {
            **{name: getattr(index, name) for name in ("identity", "state", "counts")},
            "version": VERSION,
            "begun_at": index.begun_at.isoformat(),
            "ended_at": index.ended_at.isoformat(),
            "entries": {key: list(asdict(entry).values()) for key, entry in index.entries.items()},
        }
        self.home.put(INDEX, json.dumps(stored).encode())

    def _write(self, partition_key: str, records: list[bytes], old: str | None) -> str:
        """The name of the file of a partition, which is there."""
        name = hashlib.sha256(b"\n".join(records)).hexdigest()[:32]
        if name != old:
            rows = [dict(zip(_SCHEMA.names, _unpacked(record), strict=True)) for record in records]
            sink = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), sink, compression="zstd")
            self.home.put(_file_key(partition_key, name), sink.getvalue())
        return name


class SourceReading:
    """A whole reading of the source on its way into listing files; use it as a context manager."""

    def __init__(self, files: ListingFiles, state: str | None) -> None:
        self._files = files
        self._state = state
        self._begun_at = datetime.now(UTC)
        self._spool = Spool()
        self._scans: dict[str, PartitionScan] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.__exit__(kind, error, trace)

    def add(self, partition: Partition, info: ObjectInfo, *, is_upload: bool) -> None:
        """Takes one object of a partition, in the order of keys."""
        if is_upload:
            self._scans.setdefault(partition.key, PartitionScan()).add(info.key, info.size_bytes, info.etag)
        self._spool.add(partition.key.encode(), _packed(info))

    def finish(self, counts: dict[str, Any]) -> None:
        """Publishes what was read: files that changed, then the index."""
        self._files.publish(self._begun_at, self._state, counts, self._spool, self._scans)


def identity_of(parts: Iterable[str]) -> str:
    """A name for a source and how it is read."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:32]


def _file_key(partition_key: str, name: str) -> str:
    return f"{ROOT}{Partition.from_key(partition_key).path}/{name}.parquet"


def _packed(info: ObjectInfo) -> bytes:
    more: list[str | None] = [None] * 4
    if isinstance(info, ListedVideo):
        start = info.start_time.isoformat() if info.start_time else None
        more = [info.vehicle, info.date, info.camera, start]
    return json.dumps([info.key, info.size_bytes, info.etag, info.last_modified.isoformat(), *more]).encode()


def _unpacked(record: bytes) -> Iterator[Any]:
    key, size, etag, modified, vehicle, date, camera, start = json.loads(record)
    yield from (key.encode("utf-8", "surrogateescape"), size, etag, datetime.fromisoformat(modified))
    yield from (vehicle, date, camera, start and datetime.fromisoformat(start))


def _object(row: dict[str, Any]) -> ObjectInfo:
    key = row["key"].decode("utf-8", "surrogateescape")
    info = (key, row["size_bytes"], row["etag"], row["last_modified"].astimezone(UTC))
    more = (row["vehicle"], row["date"], row["camera"], row["start_time"])
    return ListedVideo(*info, *more) if any(part is not None for part in more) else ObjectInfo(*info)

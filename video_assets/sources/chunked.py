"""A source whose videos were uploaded in numbered chunks (docs/uploads.md), beside those that are one object each.

Each stream that is complete is one video, with the key `<stream_id>/metadata.json/<name>`; the path template reads the
name. A stream with a hole, a chunk of another size, or metadata that cannot be used is a fault that says so; one that
is still being uploaded is skipped as `unfinished`, and one of a file whose place another has taken, and is complete, as
`superseded`. What this gives is read by `storage.chunked_store`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from video_assets.keys import content_id
from video_assets.path_template import KeyFields, PathTemplate
from video_assets.sources.parallel_listing import Report
from video_assets.sources.source_objects import Fault, Remarks, SourceObjects
from video_assets.sources.spool import Spool
from video_assets.storage.chunked_store import ChunkedStore, read_metadata
from video_assets.storage.object_keys import printable_key
from video_assets.storage.object_store import (
    ObjectChanged,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    ObjectUnreadable,
)
from video_assets.storage.stream_keys import METADATA, chunk_number, split_stream_key, split_stream_object

READS = 16
"""How many streams are looked at at a time."""

UNUSABLE = "is no usable stream of chunks"
"""What the reason begins with where something is wrong with a stream."""

GIVEN_UP = timedelta(days=1)
"""Chunks without metadata are an upload that begins; after so long without a new one, it was given up."""

_NO_STREAM = ""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_AHEAD = 500
_MOST_KNOWN = 50_000


@dataclass(frozen=True)
class ChunkedSource:
    """A source's store, in which complete streams are objects too."""

    home: ObjectStore

    @property
    def uri(self) -> str:
        """The store's."""
        return self.home.uri

    def uri_of(self, key: str) -> str:
        """The `video_path` of a key."""
        return self.home.uri_of(key)

    def key_of(self, uri: str) -> str | None:
        """The key of a `video_path`; None if it is of another source."""
        return self.home.key_of(uri)

    def head(self, key: str) -> ObjectInfo:
        """The object as it is now; raises ObjectNotFound, of a stream that is damaged ObjectUnreadable."""
        if (found := split_stream_key(key)) is None:
            return self.home.head(key)
        metadata_key, name = found
        return replace(ChunkedStore(self.home, metadata_key).head(name), key=key)


@dataclass
class _Stream:
    """A stream's folder as it is listed; `others` lie in it and are none of its objects."""

    folder: str
    chunk_bytes: dict[int, int] = field(default_factory=dict)
    metadata: ObjectInfo | None = None
    newest: datetime = _LONG_AGO
    others: list[ObjectInfo] = field(default_factory=list)
    surplus: int = 0

    @property
    def metadata_key(self) -> str:
        return self.folder + METADATA

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return printable_key(self.metadata_key)

    def add(self, info: ObjectInfo) -> None:
        found = split_stream_object(info.key)
        if found is None or found[0] != self.folder:
            self.others.append(info)
            return
        self.newest = max(self.newest, info.last_modified)
        if found[1] == METADATA:
            self.metadata = info
        else:
            self.chunk_bytes[chunk_number(found[1])] = info.size_bytes

    def entries(self) -> Iterator[ObjectInfo | _Stream]:
        """Itself among the others, in the order of keys."""
        place = self.metadata_key.encode()
        before = [info for info in self.others if info.key.encode("utf-8", "surrogateescape") < place]
        yield from before
        yield self
        yield from self.others[len(before) :]


@dataclass(frozen=True, slots=True)
class _Video:
    """An object or a stream that may be a video; of a stream, which file of which machine it is."""

    info: ObjectInfo
    file: str = _NO_STREAM
    generation: int = 0

    def packed(self) -> bytes:
        info = self.info
        fields = (info.key, info.size_bytes, info.etag, info.last_modified.isoformat(), self.file, self.generation)
        return json.dumps(fields).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> _Video:
        key, size_bytes, etag, modified, file, generation = json.loads(data)
        return cls(ObjectInfo(key, size_bytes, etag, datetime.fromisoformat(modified)), file, generation)


@dataclass(frozen=True, slots=True)
class _Skipped:
    """A stream that is no video for now."""

    reason: str
    stream: str


@dataclass
class ChunkedVideos:
    """The videos of a source, those in chunks among them.

    Args:
        objects: the source's objects, chunks and all: a listing or an inventory.
        home: where they lie.
    """

    objects: SourceObjects
    home: ObjectStore

    @property
    def kind(self) -> str:
        return self.objects.kind

    @property
    def store(self) -> ChunkedSource:
        return ChunkedSource(self.home)

    def state(self) -> str | None:
        return self.objects.state()

    def everything(self, remarks: Remarks, report: Report | None = None) -> Iterator[ObjectInfo]:
        examples: dict[str, str] = {}
        newest: dict[str, int] = {}
        with Spool() as spool:
            # Only the last stream tells which are of files whose place another has taken.
            for number, found in enumerate(self._looked_at(remarks, report)):
                if isinstance(found, Fault):
                    remarks.faults.append(found)
                elif isinstance(found, _Skipped):
                    _skip(remarks, examples, found)
                else:
                    newest[found.file] = max(found.generation, newest.get(found.file, 0))
                    spool.add(number.to_bytes(8, "big"), found.packed())
            newest.pop(_NO_STREAM, None)
            for _, record in spool.sorted():
                video = _Video.unpacked(record)
                if video.generation < newest.get(video.file, 0):
                    _skip(remarks, examples, _Skipped("superseded", printable_key(video.info.key)))
                else:
                    yield video.info
        for reason, stream in examples.items():
            remarks.told.append(f"skipped {remarks.skipped[reason]} {reason}: {stream}")

    def _looked_at(self, remarks: Remarks, report: Report | None) -> Iterator[_Video | Fault | _Skipped]:
        entries = _folded(self.objects.everything(remarks, report))
        with ThreadPoolExecutor(READS) as pool:
            while part := list(islice(entries, _AHEAD)):
                for entry, found in zip(part, pool.map(self._video, part), strict=True):
                    yield found
                    if isinstance(entry, _Stream) and entry.surplus:
                        _count(remarks, "surplus_chunk", entry.surplus)

    def fields(self, info: ObjectInfo, template: PathTemplate) -> KeyFields:
        stream = split_stream_key(info.key)
        return self.objects.fields(info if stream is None else replace(info, key=stream[1]), template)

    def _video(self, entry: ObjectInfo | _Stream) -> _Video | Fault | _Skipped:
        """The video; or what is wrong with the stream; or why it is skipped."""
        if isinstance(entry, ObjectInfo):
            return _Video(entry)
        try:
            return self._of_stream(entry)
        except ObjectNotFound:
            return _Skipped("gone", entry.name)
        except ObjectChanged:
            # Its metadata was written anew while it was read.
            return _Skipped("unfinished", entry.name)
        except ObjectUnreadable as error:
            name = error.item.rpartition("/")[2]
            return _fault(entry, error.cause if name == METADATA else f"{name} {error.cause}")

    def _of_stream(self, stream: _Stream) -> _Video | Fault | _Skipped:
        if stream.metadata is None:
            if datetime.now(UTC) - stream.newest < GIVEN_UP:
                return _Skipped("unfinished", stream.name)
            return _fault(stream, f"it has {len(stream.chunk_bytes)} chunks and no {METADATA}")
        known = (self.home.uri, stream.metadata_key, stream.metadata.etag, hash(frozenset(stream.chunk_bytes.items())))
        if (video := _KNOWN.get(known)) is not None:
            return video
        info, metadata = read_metadata(self.home, stream.metadata_key)
        if not metadata.complete:
            return _fault(stream, metadata.fault) if metadata.fault else _Skipped("unfinished", stream.name)
        chunks = ChunkedStore(self.home, stream.metadata_key)
        for number, chunk in enumerate(metadata.chunks):
            # A listing may have passed a chunk before it was there.
            if stream.chunk_bytes.get(number) != chunk.size_bytes:
                chunks.check_chunk(metadata, number)
        stream.surplus = sum(number >= len(metadata.chunks) for number in stream.chunk_bytes)
        key = f"{stream.metadata_key}/{metadata.name}"
        file = content_id(metadata.host, metadata.name)
        video = _Video(
            ObjectInfo(key, metadata.size_bytes, metadata.etag, info.last_modified), file, metadata.generation
        )
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        if not stream.surplus and info.etag == stream.metadata.etag:
            _KNOWN[known] = video
        return video


_KNOWN: dict[tuple[str, str, str, int], _Video] = {}
"""Complete streams that were looked at: they never change, and a sensor comes by every half minute."""


def _folded(infos: Iterable[ObjectInfo]) -> Iterator[ObjectInfo | _Stream]:
    """Objects in the order of keys, with the objects of each stream put together."""
    stream: _Stream | None = None
    for info in infos:
        if stream is not None and not info.key.startswith(stream.folder):
            yield from stream.entries()
            stream = None
        if stream is None and (found := split_stream_object(info.key)) is not None:
            stream = _Stream(found[0])
        if stream is None:
            yield info
        else:
            stream.add(info)
    if stream is not None:
        yield from stream.entries()


def _fault(stream: _Stream, cause: str) -> Fault:
    return Fault(stream.name, f"{UNUSABLE}: {cause}")


def _skip(remarks: Remarks, examples: dict[str, str], skipped: _Skipped) -> None:
    _count(remarks, skipped.reason, 1)
    examples.setdefault(skipped.reason, skipped.stream)


def _count(remarks: Remarks, reason: str, number: int) -> None:
    remarks.skipped[reason] = remarks.skipped.get(reason, 0) + number

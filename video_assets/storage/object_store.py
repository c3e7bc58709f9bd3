"""The one interface to bytes on a disk or in a bucket.

Everything above `storage/` takes an `ObjectStore`; `storage.registry.open_store` makes one from a URI. A store
can be pickled, and rebuilt in another process by `open_store(store.uri)`.

Keys are `/`-separated names below the store's root. What may be *written* is the same for every store
(`storage.object_keys.check_key`). What can be *listed and read* is wider, since a source holds whatever others put
there: bytes that are not UTF-8 are surrogate-escaped in the key, so the object can still be read. Show a key with
`storage.object_keys.printable_key` or as `uri_of(key)`, which is pure ASCII and loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Protocol, Self

from video_assets.errors import VideoAssetsError
from video_assets.storage.part_uploads import PartUploads

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from video_assets.storage.positioned_file import PositionedFile

STREAM_CHUNK_BYTES = 1024 * 1024
"""Default size of the chunks of `ObjectStore.stream`."""

MAX_PART_NUMBER = 10_000
"""Parts of a multipart upload are numbered 1 to this (the limit of S3 and OSS)."""

MIN_PART_BYTES = 5 * 1024 * 1024
"""S3 refuses a smaller part, the last one excepted. A local store takes any size."""


class StoreError(VideoAssetsError):
    """A store could not do what was asked. `stage` becomes a row's `error_stage`."""

    stage: ClassVar[str] = "read"


class StoreUnavailable(StoreError):
    """The store as a whole is missing, not permitted, full or broken: nothing is known about the object."""

    stage = "store"


class InvalidUri(StoreError):
    """A URI that names no store this version can open."""


class InvalidKey(StoreError):
    """A key that may not be written, or that names nothing a store could hold."""


class ObjectNotFound(StoreError):
    """No object has this key."""

    stage = "source"


class ObjectUnreadable(StoreError):
    """This object cannot be read (permissions, a bad sector), though its store can: the fault of one item."""


class ObjectChanged(StoreError):
    """The object is not, or no longer, the version that was asked for."""

    stage = "source"


def object_changed(item: str, found: str, wanted: str) -> ObjectChanged:
    """The error for an object at the URI `item` whose etag is `found` instead of `wanted`."""
    return ObjectChanged(item, f"is version {found}, not {wanted}", "List the source again and rerun.")


class SizeMismatch(StoreError):
    """The bytes read of the version that was asked for are not as many as its listing says."""

    stage = "copy"


def check_size(item: str, found: int, listed: int | None) -> None:
    """Raises SizeMismatch where an object of so many bytes was found, and it was listed with another size."""
    if listed not in (None, found):
        raise SizeMismatch(item, f"{found} bytes were read, and its listing says {listed}", "List the source again.")


class ObjectExists(StoreError):
    """A put with `if_absent` found an object under its key."""


class LockTimeout(StoreError):
    """A lock stayed with another holder for the whole wait."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as listed. `etag` names the version; `last_modified` is aware and in UTC."""

    key: str
    size_bytes: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class CommonPrefix:
    """All objects whose keys begin with `prefix`, which ends with the delimiter."""

    prefix: str


class Digest(Protocol):
    """A hash of `hashlib`, or anything else that wants to see all bytes in their order."""

    def update(self, data: ReadableBuffer, /) -> None:
        """Takes the next bytes, whose buffer is used again afterwards."""


class MultipartUpload(Protocol):
    """One object sent in numbered parts. Leaving the `with` block without `complete()` aborts."""

    def write_part(self, number: int, data: bytes) -> None:
        """Sends part `number` (1 to `MAX_PART_NUMBER`), in any order; a number sent again replaces that part.

        Every part but the last should have `MIN_PART_BYTES`. Threads may send parts at the same time.
        """

    def complete(self) -> ObjectInfo:
        """Publishes the parts, joined in the order of their numbers, as one object.

        Raises:
            StoreError: no part was written.
        """

    def abort(self) -> None:
        """Drops the parts. Does nothing after `complete()` or a second time."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ObjectStore(Protocol):
    """Objects by key. Every method may raise `StoreUnavailable`, and every read of an object `ObjectUnreadable`."""

    @property
    def uri(self) -> str:
        """The root's URI without a trailing slash: `file:///data/store`, `s3://bucket/prefix`."""

    @property
    def conditional_put(self) -> bool:
        """Whether `put(if_absent=True)` is decided by the store itself, so that exactly one of two racers wins.

        Where it is False the check and the write are two steps. Code must be right without it.
        """

    def uri_of(self, key: str) -> str:
        """The full URI of a key, percent-encoded to pure ASCII; it loses nothing, whatever the key."""

    def key_of(self, uri: str) -> str | None:
        """The key of a URI of this store, as `uri_of` or another program made it; None if it is of another."""

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Objects whose keys begin with the string `prefix` and sort after `start_after`.

        Streamed in the order of the keys' UTF-8 bytes. `prefix` need not end at a `/`. What cannot be listed
        raises: an unreadable folder is never taken for an empty one.
        """

    def list_level(
        self, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        """As `list`, with the keys that hold `delimiter` after `prefix` rolled up into one `CommonPrefix` each.

        An entry is yielded if its key or prefix sorts after `start_after`: pass the last entry seen to go on.
        """

    def head(self, key: str) -> ObjectInfo:
        """The object's size, version and time.

        Raises:
            ObjectNotFound: no such object.
        """

    def get(self, key: str, *, start: int = 0, length: int | None = None, etag: str | None = None) -> bytes:
        """Bytes `start` to `start + length`, cut at the object's end (empty beyond it).

        Raises:
            ObjectNotFound: no such object.
            ObjectChanged: `etag` is given and is not the object's, or the object changed during the read.
        """

    def stream(self, key: str, *, etag: str | None = None, chunk_bytes: int = STREAM_CHUNK_BYTES) -> Iterator[bytes]:
        """The whole object in chunks of `chunk_bytes` (the last may be shorter), all of one version.

        Nothing happens before the first step of the iterator, errors included.

        Raises:
            ObjectNotFound: no such object.
            ObjectChanged: `etag` is given and is not the object's, or the object changed during the read.
        """

    def read_into(
        self, key: str, file: PositionedFile, *, etag: str | None = None, digests: Sequence[Digest] = ()
    ) -> int:
        """Writes the whole object, all of one version, to a file from its beginning; returns its size in bytes.

        The way to a disk for large objects: where the store is far away, by several requests at a time. `digests` are
        fed meanwhile. What the file holds after an error is no object.

        Raises:
            ObjectNotFound: no such object.
            ObjectChanged: `etag` is given and is not the object's, or the object changed during the read.
        """
        position = 0
        for chunk in self.stream(key, etag=etag):
            file.write_at(position, chunk)
            for digest in digests:
                digest.update(chunk)
            position += len(chunk)
        return position

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        """A buffered, seekable reader of one version (the present one unless `etag` names it).

        Where the store is no local disk, it also has `read_at(position, length)`: one ranged request, from any thread.

        Raises:
            ObjectNotFound: no such object.
            ObjectChanged: as for `get`, now or at a later read.
        """

    def local_path(self, key: str) -> Path | None:
        """The object's own file, which may not exist, or None where the store is no local disk. Read only."""

    def put(self, key: str, data: bytes | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        """Publishes an object in one step, on the disk before it returns: a reader sees the old or the new.

        An error from the iterable leaves the old object and is passed on.

        Raises:
            InvalidKey: see `object_keys.check_key`.
            ObjectExists: `if_absent` and the key is taken; the object there is untouched.
        """

    def put_from(
        self,
        key: str,
        source: ObjectStore,
        source_key: str,
        *,
        etag: str | None = None,
        size_bytes: int | None = None,
        digests: Sequence[Digest] = (),
    ) -> ObjectInfo:
        """Publishes, as `put` does, a copy of an object of any store, its bytes checked as `source` reads them.

        Raises:
            ObjectNotFound: no such source.
            ObjectChanged: `etag` is given and is not the source's, or it changed during the copy.
            SizeMismatch: `size_bytes` is given and is not the source's.
            InvalidKey: see `object_keys.check_key`.
        """

        def chunks() -> Iterator[bytes]:
            size = 0
            for chunk in source.stream(source_key, etag=etag):
                for digest in digests:
                    digest.update(chunk)
                size += len(chunk)
                yield chunk
            check_size(source.uri_of(source_key), size, size_bytes)

        return self.put(key, chunks())

    def multipart(self, key: str) -> MultipartUpload:
        """Starts an object in parts; it is invisible until `complete()`.

        Raises:
            InvalidKey: see `object_keys.check_key`.
        """

    @property
    def uploads(self) -> PartUploads:
        """Objects in parts whose upload outlives its writer."""

    def copy(self, source_key: str, key: str) -> ObjectInfo:
        """Publishes a copy of one version of `source_key`, with a new etag and time.

        Raises:
            ObjectNotFound: no such source.
            ObjectChanged: the source changed during the copy.
            InvalidKey: see `object_keys.check_key`.
        """

    def delete(self, key: str) -> None:
        """Removes the object; does nothing where there is none.

        Raises:
            InvalidKey: see `object_keys.check_key`.
        """

    def sweep(self) -> int:
        """Removes what dead writers left unpublished, never what a live one is writing; returns how many."""

    def lock(self, name: str, *, timeout_s: float) -> AbstractContextManager[None]:
        """Holds `name` (any text) for the block, alone among all processes and threads that use this store.

        The death of the holder, `kill -9` included, frees it. Not re-entrant.

        Raises:
            LockTimeout: another held it for `timeout_s` seconds (0: one try).
        """

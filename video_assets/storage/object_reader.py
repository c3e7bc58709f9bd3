"""A seekable reader over ranged reads, for demuxers and Parquet: the same for every store."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

from video_assets.storage.object_store import ObjectInfo, ObjectStore, object_changed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FIRST_REQUEST_BYTES = 64 * 1024
MAX_REQUEST_BYTES = 1024 * 1024
"""A read fetches the first after a jump, and twice as much each time reading goes on, up to the second, or what is
asked for if that is more. A request to a bucket costs tens of milliseconds: one for a few bytes should bring what lies
around them, many in a row should be few, and a look at one place should not cost a megabyte."""


def open_reader(store: ObjectStore, key: str, etag: str | None) -> BinaryIO:
    """A buffered reader of the present version of `key`, which must be `etag` where that is given.

    Raises:
        ObjectNotFound: no such object.
        ObjectChanged: it is another version, now or at a later read.
    """
    info = store.head(key)
    if etag is not None and info.etag != etag:
        raise object_changed(store.uri_of(key), info.etag, etag)
    reader = _ObjectReader if store.local_path(key) is not None else _DistantObjectReader
    return cast("BinaryIO", reader(store, info))


class _ObjectReader(io.RawIOBase):
    """One version of one object; every request is conditional on its etag."""

    def __init__(self, store: ObjectStore, info: ObjectInfo) -> None:
        super().__init__()
        self._store = store
        self._info = info
        self._position = 0
        self._start, self._data = 0, b""
        self._next_bytes = FIRST_REQUEST_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._info.size_bytes}[whence]
        if origin + offset < 0:
            raise ValueError(f"negative seek position {origin + offset}")
        self._position = origin + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """As many bytes as asked for, fewer only at the end of the object."""
        if self.closed:
            raise ValueError("read of a closed reader")
        left = max(self._info.size_bytes - self._position, 0)
        left = left if size is None or size < 0 else min(size, left)
        found = []
        while left and (data := self._some(left)):
            found.append(data)
            left -= len(data)
            self._position += len(data)
        return found[0] if len(found) == 1 else b"".join(found)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def _some(self, length: int) -> bytes:
        """Up to `length` bytes at the position, of which there are so many."""
        begin, end = self._position - self._start, self._start + len(self._data)
        if not 0 <= begin < len(self._data):
            sequential = self._position == end
            self._next_bytes = min(2 * self._next_bytes, MAX_REQUEST_BYTES) if sequential else FIRST_REQUEST_BYTES
            self._start, begin = self._position, 0
            self._data = self._request(self._position, max(length, self._next_bytes))
        data = self._data[begin : begin + length]
        if begin + length >= len(self._data):
            self._start, self._data = self._start + len(self._data), b""
        return data

    def _request(self, position: int, length: int) -> bytes:
        return self._store.get(self._info.key, start=position, length=length, etag=self._info.etag)


class _DistantObjectReader(_ObjectReader):
    """Of a store to which requests take long, so that it pays to make several at a time."""

    def read_at(self, position: int, length: int) -> bytes:
        """Bytes at a position by one request, whatever the reader's own; safe to call from several threads."""
        return self._request(position, length)

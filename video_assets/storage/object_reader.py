"""A seekable reader over ranged reads, for demuxers: the same for every store."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

from video_assets.storage.object_store import ObjectInfo, ObjectStore, object_changed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READER_BUFFER_BYTES = 1024 * 1024
"""What one request fetches at least; a request to a bucket costs tens of milliseconds, so few and large."""


def open_reader(store: ObjectStore, key: str, etag: str | None) -> BinaryIO:
    """A buffered reader of the present version of `key`, which must be `etag` where that is given.

    Raises:
        ObjectNotFound: no such object.
        ObjectChanged: it is another version, now or at a later read.
    """
    info = store.head(key)
    if etag is not None and info.etag != etag:
        raise object_changed(store.uri_of(key), info.etag, etag)
    return cast("BinaryIO", io.BufferedReader(_RangeReader(store, info), READER_BUFFER_BYTES))


class _RangeReader(io.RawIOBase):
    """One version of one object; each read is one ranged request conditional on its etag."""

    def __init__(self, store: ObjectStore, info: ObjectInfo) -> None:
        super().__init__()
        self._store = store
        self._info = info
        self._position = 0

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

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        length = min(len(target), self._info.size_bytes - self._position)
        if length <= 0:
            return 0
        data = self._store.get(self._info.key, start=self._position, length=length, etag=self._info.etag)
        target[: len(data)] = data
        self._position += len(data)
        return len(data)

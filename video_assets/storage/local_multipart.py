"""Objects sent to a local store in parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from video_assets.storage.local_temporary import Temporary
from video_assets.storage.object_store import (
    MAX_PART_NUMBER,
    STREAM_CHUNK_BYTES,
    MultipartUpload,
    ObjectInfo,
    StoreError,
)


class _Part(NamedTuple):
    """Where a part lies in the temporary, in bytes."""

    start: int
    length: int


class LocalMultipartUpload(MultipartUpload):
    """Parts go to one temporary as they arrive; only parts out of order are copied once more at the end.

    Args:
        temporary: a new one; it belongs to the upload from here on.
        item: the URI of the object, for errors.
        put: publishes chunks as the object.
        publish: publishes the temporary as the object.
    """

    def __init__(
        self,
        temporary: Temporary,
        item: str,
        put: Callable[[Iterator[bytes]], ObjectInfo],
        publish: Callable[[Temporary], ObjectInfo],
    ) -> None:
        self._temporary: Temporary | None = temporary
        self._item = item
        self._put = put
        self._publish = publish
        self._parts: dict[int, _Part] = {}
        self._guard = threading.Lock()

    def write_part(self, number: int, data: bytes) -> None:
        if not 1 <= number <= MAX_PART_NUMBER:
            raise ValueError(f"part number {number} is not from 1 to {MAX_PART_NUMBER}")
        with self._guard:
            temporary = self._open_temporary()
            start = temporary.size_bytes
            temporary.write(data)
            self._parts[number] = _Part(start, len(data))

    def complete(self) -> ObjectInfo:
        with self._guard:
            temporary = self._open_temporary()
            if not self._parts:
                raise StoreError(self._item, "has no parts to publish", "Put an empty object instead.")
            info = self._publish(temporary) if self._is_in_order() else self._put(self._chunks(temporary))
        self.abort()
        return info

    def abort(self) -> None:
        with self._guard:
            temporary, self._temporary = self._temporary, None
            if temporary:
                temporary.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _open_temporary(self) -> Temporary:
        if self._temporary is None:
            raise StoreError(self._item, "was already completed or aborted", "Start another upload.")
        return self._temporary

    def _in_number_order(self) -> list[_Part]:
        return [self._parts[number] for number in sorted(self._parts)]

    def _is_in_order(self) -> bool:
        """Whether the temporary is the object already: parts in order, none of them sent twice."""
        end = 0
        for part in self._in_number_order():
            if part.start != end:
                return False
            end += part.length
        return True

    def _chunks(self, temporary: Temporary) -> Iterator[bytes]:
        for part in self._in_number_order():
            for start in range(part.start, part.start + part.length, STREAM_CHUNK_BYTES):
                yield temporary.read(start, min(STREAM_CHUNK_BYTES, part.start + part.length - start))

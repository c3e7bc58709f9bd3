"""File objects that tell how they were read."""

from __future__ import annotations

import io
import threading
from pathlib import Path


class CountingFile(io.FileIO):
    """A file that notes each read: where, and how many bytes came."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self.requests: list[tuple[int, int]] = []

    def read(self, size: int | None = -1) -> bytes:
        at = self.tell()
        data = super().read(size) or b""
        self.requests.append((at, len(data)))
        return data

    @property
    def bytes_read(self) -> int:
        return sum(length for _, length in self.requests)


class RangedFile(CountingFile):
    """As a store's reader: read by ranges, from several threads at a time. Not through `read`, then."""

    def __init__(self, path: Path, fail_at: int = -1) -> None:
        super().__init__(path)
        self._data = path.read_bytes()
        self._lock = threading.Lock()
        self._fail_at = fail_at
        self.threads: set[int] = set()

    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("has read_at, and was read")

    def read_at(self, position: int, length: int) -> bytes:
        if position <= self._fail_at < position + length:
            raise ConnectionError(f"no bytes at {self._fail_at}")
        data = self._data[position : position + length]
        with self._lock:
            self.requests.append((position, len(data)))
            self.threads.add(threading.get_ident())
        return data

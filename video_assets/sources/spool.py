"""Records in the order of their keys, however many: sorted runs in a temporary file, merged as they are read."""

from __future__ import annotations

import heapq
import os
import struct
import tempfile
from collections.abc import Iterator
from operator import itemgetter
from types import TracebackType
from typing import Self

RUN_BYTES = 16 * 1024 * 1024
"""Records are kept in memory up to so many bytes of keys and values; as objects they take about twice that."""

_READ_BYTES = 64 * 1024
_HEAD = struct.Struct("<II")
_Record = tuple[bytes, bytes]


class Spool:
    """Takes records, then gives them back sorted. Equal keys keep the order in which they came.

    Use it as a context manager: the file goes with it, and has no name that could be left behind.
    """

    def __init__(self, run_bytes: int = RUN_BYTES) -> None:
        self._file = tempfile.TemporaryFile(prefix="video_assets_")  # noqa: SIM115
        self._run_bytes = run_bytes
        self._records: list[_Record] = []
        self._held = 0
        self._runs: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, key: bytes, value: bytes) -> None:
        """Takes one record."""
        self._records.append((key, value))
        self._held += len(key) + len(value)
        if self._held >= self._run_bytes:
            self._write_run()

    def sorted(self) -> Iterator[_Record]:
        """Every record by key; to be called once, when all were added."""
        self._records.sort(key=itemgetter(0))
        self._file.flush()
        runs = [self._read_run(*run) for run in self._runs]
        return heapq.merge(*runs, iter(self._records), key=itemgetter(0))

    def _write_run(self) -> None:
        self._records.sort(key=itemgetter(0))
        begin = self._file.tell()
        for key, value in self._records:
            self._file.write(_HEAD.pack(len(key), len(value)))
            self._file.write(key)
            self._file.write(value)
        self._runs.append((begin, self._file.tell()))
        self._records, self._held = [], 0

    def _read_run(self, position: int, end: int) -> Iterator[_Record]:
        held, at = b"", 0
        while position < end or at < len(held):
            sizes = _HEAD.unpack_from(held, at) if len(held) - at >= _HEAD.size else (_READ_BYTES, 0)
            if len(held) - at < _HEAD.size + sum(sizes):
                chunk = os.pread(self._file.fileno(), min(end - position, _READ_BYTES + sum(sizes)), position)
                position += len(chunk)
                held, at = held[at:] + chunk, 0
                continue
            middle = at + _HEAD.size + sizes[0]
            yield held[at + _HEAD.size : middle], held[middle : middle + sizes[1]]
            at = middle + sizes[1]

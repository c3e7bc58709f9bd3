"""One object read by several requests at a time into a file, each byte at its own place.

One connection brings less than a disk takes, and its bytes would wait for each other's writing. So threads take span
after span and write what comes where it belongs; digests, which need the bytes in order, follow behind and read them
back from the file, that is from the memory where the system keeps what was just written. What is held in memory is a
piece for each thread, whatever the size of the object or of a span.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from video_assets.storage.object_store import Digest
from video_assets.storage.positioned_file import PositionedFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DIGEST_BYTES = 256 * 1024
"""Read back at a time: what fits a core's own cache."""

Pieces = Callable[[range], Iterator["ReadableBuffer"]]
"""All bytes of a span in pieces of any size. A piece may be overwritten at the next step."""


def spans_of(start: int, size: int, connections: int, *, least: int, most: int) -> list[range]:
    """Bytes `start` to `size` in spans of `least` to `most` bytes: one for each connection, where that fits."""
    length = max(least, min(most, -(-(size - start) // connections)))
    return [range(at, min(at + length, size)) for at in range(start, size, length)]


def read_spans(
    spans: Sequence[range],
    pieces: Pieces,
    file: PositionedFile,
    digests: Callable[[], Sequence[Digest]],
    *,
    connections: int,
) -> None:
    """Reads adjacent spans, each by a request of its own, and writes them to `file`.

    Args:
        digests: what is fed with the bytes in order; asked for once the threads have begun.

    Raises:
        Exception: what `pieces` or `digests` raised. No thread of the read is left then.
    """
    reading, threads = _Reading(spans, pieces, file), max(1, min(connections, len(spans)))
    with ThreadPoolExecutor(threads, thread_name_prefix="span") as pool:
        try:
            workers = [pool.submit(reading.work) for _ in range(threads)]
            reading.follow(digests())
            for worker in workers:
                worker.result()
        except BaseException:
            reading.stop()
            raise


class _Reading:
    """How far a read is, for the threads that share it."""

    def __init__(self, spans: Sequence[range], pieces: Pieces, file: PositionedFile) -> None:
        self._spans = spans
        self._pieces = pieces
        self._file = file
        self._reached = [span.start for span in spans]
        self._left = iter(range(len(spans)))
        self._moved = threading.Condition()
        self._is_stopped = False

    def work(self) -> None:
        """Reads spans until none is left, or the read has failed elsewhere."""
        try:
            while (number := self._next()) is not None:
                self._read(number)
        except BaseException:
            self.stop()
            raise

    def follow(self, digests: Sequence[Digest]) -> None:
        """Feeds digests with the bytes in order, as they come to be there; returns early where the read fails."""
        if not digests:
            return
        buffer = memoryview(bytearray(DIGEST_BYTES))
        for number, span in enumerate(self._spans):
            at = span.start
            while at < span.stop:
                reached = self._wait_beyond(number, min(at + DIGEST_BYTES, span.stop))
                if reached is None:
                    return
                while at < reached:
                    piece = buffer[: reached - at]
                    self._file.read_at(at, piece)
                    for digest in digests:
                        digest.update(piece)
                    at += len(piece)

    def stop(self) -> None:
        """Ends the threads, each at its next piece."""
        with self._moved:
            self._is_stopped = True
            self._moved.notify_all()

    def _next(self) -> int | None:
        with self._moved:
            return None if self._is_stopped else next(self._left, None)

    def _read(self, number: int) -> None:
        span = self._spans[number]
        at = span.start
        for piece in self._pieces(span):
            if self._is_stopped:
                return
            self._file.write_at(at, piece)
            at += memoryview(piece).nbytes
            with self._moved:
                self._reached[number] = at
                self._moved.notify_all()
        self._file.begin_write_out(span.start, len(span))

    def _wait_beyond(self, number: int, place: int) -> int | None:
        """Waits until a span has come up to a place; returns how far it is, or None where the read was stopped."""
        with self._moved:
            self._moved.wait_for(lambda: self._is_stopped or self._reached[number] >= place)
            return None if self._is_stopped else self._reached[number]

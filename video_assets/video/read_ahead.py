"""Pieces of a file in the order in which they will be asked for, some of them fetched in advance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

MAX_PIECE_BYTES = 2 * 1024 * 1024
"""What one request fetches at most. Larger ones hardly come faster, and pieces read ahead are held in memory."""

MAX_GAP_BYTES = 64 * 1024
"""Bytes between two ranges that are fetched rather than left out, since a request of its own would cost more."""

AHEAD = 8
"""Pieces on their way at a time. With 20 to 50 ms a request, one after the other would be slower than reading all."""


def pieces_of(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Start and end of what is fetched to have all `ranges` (start and end each): in order, apart, none too large."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start - joined[-1][1] <= MAX_GAP_BYTES:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return [(at, min(at + MAX_PIECE_BYTES, end)) for start, end in joined for at in range(start, end, MAX_PIECE_BYTES)]


class ReadAhead:
    """Fetches pieces. Close it: no fetch is under way after that.

    Args:
        fetch: reads a number of bytes at a position; with `ahead`, in several threads at a time.
        pieces: start and end of each.
        ahead: how many to fetch in advance. 0 fetches each when it is asked for.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], pieces: Sequence[tuple[int, int]], *, ahead: int) -> None:
        self._fetch, self._pieces, self._ahead = fetch, pieces, ahead
        self._threads = ThreadPoolExecutor(ahead) if ahead and pieces else None
        self._coming: dict[int, Future[bytes]] = {}
        self._next = 0

    def take(self, number: int) -> bytes:
        """The bytes of one piece, best in order. A fetch that failed raises here."""
        if self._threads is None:
            return self._fetch_piece(number)
        self._request(self._threads, number)
        coming = self._coming.pop(number, None)
        return self._fetch_piece(number) if coming is None else coming.result()

    def _request(self, threads: ThreadPoolExecutor, number: int) -> None:
        for passed in [other for other in self._coming if other < number]:
            self._coming.pop(passed).cancel()
        end = min(number + self._ahead, len(self._pieces))
        for wanted in range(max(number, self._next), end):
            self._coming[wanted] = threads.submit(self._fetch_piece, wanted)
        self._next = max(self._next, end)

    def _fetch_piece(self, number: int) -> bytes:
        start, end = self._pieces[number]
        return self._fetch(start, end - start)

    def close(self) -> None:
        """Waits for fetches under way; those not begun are dropped."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

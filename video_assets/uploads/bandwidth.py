"""A limit of bytes a second that all connections keep together."""

from __future__ import annotations

import time
from threading import Event, Lock


class Bandwidth:
    """Lets parts through so that no more than `bytes_s` a second go out on average; a part itself goes at full speed.

    Args:
        bytes_s: None for no limit.
        stop: ends a wait.
    """

    def __init__(self, bytes_s: int | None, stop: Event) -> None:
        self._bytes_s = bytes_s
        self._stop = stop
        self._next = 0.0
        self._guard = Lock()

    def take(self, size: int) -> None:
        """Returns when `size` bytes may be sent."""
        if self._bytes_s is None:
            return
        with self._guard:
            turn = max(self._next, time.monotonic())
            self._next = turn + size / self._bytes_s
        self._stop.wait(max(0.0, turn - time.monotonic()))

"""A least time between requests to a host, kept by all threads of the process together."""

from __future__ import annotations

import time
from threading import Lock


class Pace:
    """One request each `interval_s` seconds.

    A wait that a server asks for (`hold`) is kept by all threads.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next = 0.0
        self._lock = Lock()

    def wait(self) -> None:
        """Returns when it is the caller's turn."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval_s
        time.sleep(max(0.0, turn - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Nobody's turn comes for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


_paces: dict[tuple[str, float], Pace] = {}
_lock = Lock()


def pace_of(host: str, interval_s: float) -> Pace:
    """The pace that all of this process keep towards a host."""
    with _lock:
        return _paces.setdefault((host, interval_s), Pace(interval_s))

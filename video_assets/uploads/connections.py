"""Several parts at a time, each connection with one in hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from video_assets.uploads.errors import Stopped

GRACE_S = 5.0
"""How long parts in flight may take to arrive once the end was asked for. What does not, is sent again."""

_LOOK_S = 0.05


def in_parallel(numbers: Iterable[int], connections: int, work: Callable[[int], None], stop: threading.Event) -> None:
    """Calls `work` with each number, from so many threads; the first error ends them all, and is raised.

    The threads are daemons: one that waits for a store that is away does not hold up the end of the process.

    Raises:
        Stopped: the end was asked for.
    """
    crew = _Crew(numbers, work, stop)
    threads = [threading.Thread(target=crew.run, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    deadline: float | None = None
    for thread in threads:
        while thread.is_alive():
            thread.join(_LOOK_S)
            if stop.is_set():
                deadline = deadline or time.monotonic() + GRACE_S
                if time.monotonic() > deadline:
                    raise Stopped
    if crew.error is not None:
        raise crew.error
    if stop.is_set():
        raise Stopped


class _Crew:
    def __init__(self, numbers: Iterable[int], work: Callable[[int], None], stop: threading.Event) -> None:
        self.error: BaseException | None = None
        self._numbers = iter(numbers)
        self._work = work
        self._stop = stop
        self._guard = threading.Lock()

    def run(self) -> None:
        while (number := self._next()) is not None:
            try:
                self._work(number)
            except BaseException as error:
                with self._guard:
                    self.error = self.error or error

    def _next(self) -> int | None:
        with self._guard:
            return None if self.error is not None or self._stop.is_set() else next(self._numbers, None)

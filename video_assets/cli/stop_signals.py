"""Commands that SIGINT and SIGTERM ask to end, rather than end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


@contextmanager
def stopped_by_signals(stop: Event, on_stop: Callable[[], None] = lambda: None) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `stop` and calls `on_stop`; the next ends the process at once."""
    signals = (signal.SIGINT, signal.SIGTERM)

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        for one in signals:
            signal.signal(one, signal.SIG_DFL)
        on_stop()

    before = {number: signal.signal(number, on_signal) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

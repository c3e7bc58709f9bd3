"""Waiting for what is away: the store, the checkpoint, the disk of the source."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Lock
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from video_assets.storage.object_store import StoreUnavailable
from video_assets.uploads.errors import CheckpointAway, SourceAway, Stopped

_T = TypeVar("_T")
_logger = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
QUIET_S = 60.0
"""What goes and comes back more often than this is said once in so long."""

_AWAY = {StoreUnavailable: "store", CheckpointAway: "checkpoint", SourceAway: "folder"}


class Patience:
    """Tries again for as long as it takes, with growing waits and jitter; says once that something is away, and back.

    Args:
        stop: ends every wait.
    """

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._away: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._guard = Lock()

    @property
    def away(self) -> list[str]:
        """What is away now: `store`, `checkpoint`, `folder`."""
        with self._guard:
            return sorted(self._away)

    def until_done(self, what: str, function: Callable[[], _T]) -> _T:
        """The function's result, once it does not say that something is away.

        Args:
            what: `store`, `checkpoint` or `folder`: what is back when it succeeds.

        Raises:
            SourceAway: unless the folder is what is asked for: a file that was open when its disk went is never back.
            Stopped: in place of another wait.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(tuple(kind for kind in _AWAY if what == "folder" or kind is not SourceAway)),
            wait=wait_random_exponential(FIRST_WAIT_S, LONGEST_WAIT_S, min=FIRST_WAIT_S / 2),
            sleep=self._sleep,
            before_sleep=self._gone,
        )
        result = retrying(function)
        self._back(what)
        return result

    def check(self) -> None:
        """Raises Stopped where the end was asked for."""
        if self._stop.is_set():
            raise Stopped

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped

    def _gone(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        what = next(name for kind, name in _AWAY.items() if isinstance(error, kind))
        with self._guard:
            now = time.monotonic()
            if what in self._away:
                return
            self._away[what] = now
            if now - self._said.get(what, -QUIET_S) >= QUIET_S:
                self._said[what] = now
                _logger.warning("the %s is away, trying again until it is back: %s", what, error)

    def _back(self, what: str) -> None:
        with self._guard:
            since = self._away.pop(what, None)
            if since is not None and self._said.get(what) == since:
                _logger.info("the %s is back after %.0f s", what, time.monotonic() - since)


class Impatience(Patience):
    """Passes on that something is away, for who asks once."""

    def until_done(self, what: str, function: Callable[[], _T]) -> _T:
        return function()

"""Files that failed, and when they are tried again."""

from __future__ import annotations

import logging
import time

from video_assets.errors import VideoAssetsError

_logger = logging.getLogger(__name__)

FIRST_SET_ASIDE_S, LONGEST_SET_ASIDE_S = 30.0, 3600.0


class Aside:
    """Files that failed, each until it is tried again; what is said of them is said once."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, int]] = {}
        self._said: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._until)

    def put(self, name: str, error: VideoAssetsError) -> None:
        """Sets a file aside for twice as long as the last time."""
        times = self._until.get(name, (0.0, 0))[1]
        wait_s = min(FIRST_SET_ASIDE_S * 2**times, LONGEST_SET_ASIDE_S)
        self._until[name] = (time.monotonic() + wait_s, min(times + 1, 20))
        self.say(name, error)

    def say(self, name: str, error: VideoAssetsError) -> None:
        """Says an error, unless it was the last that was said of this name."""
        if self._said.get(name) != str(error):
            self._said[name] = str(error)
            _logger.error("%s", error)

    def holds(self, name: str) -> bool:
        """Whether the file's time has not come yet."""
        return name in self._until and time.monotonic() < self._until[name][0]

    def forget(self, name: str) -> None:
        """The file is well again."""
        self._until.pop(name, None)
        self._said.pop(name, None)

    def keep(self, names: set[str]) -> None:
        """Forgets files that are no longer there."""
        self._until = {name: until for name, until in self._until.items() if name in names}

    def next_s(self) -> float:
        """Until the next of them is tried."""
        return min((until - time.monotonic() for until, _ in self._until.values()), default=LONGEST_SET_ASIDE_S)

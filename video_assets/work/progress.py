"""How far a long piece of work is: counts, throughput, time left."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Counts items as they end and reports through `log`, at most one line every `every_s` seconds.

    Use: `add` for each outcome, `tick` as `run_items`' `on_progress`, `finish` at the end.

    Args:
        log: takes one line of text, `context.log.info` say.
        unit: what is counted, in the plural: `clips`.
        total: how many items there are, if it is known: adds the time left, estimated from the rate so far.
        every_s: seconds between two lines. Work that is shorter logs only its end.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        log: Callable[[str], None],
        *,
        unit: str = "items",
        total: int | None = None,
        every_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.items = 0
        self.failed = 0
        self.size_bytes = 0
        self._log = log
        self._unit = unit
        self._total = total
        self._every_s = every_s
        self._clock = clock
        self._start = self._logged_at = clock()

    def add(self, *, failed: bool = False, size_bytes: int = 0) -> None:
        """Count one item that has ended, well or not, and the bytes that were read or written for it."""
        self.items += 1
        self.failed += failed
        self.size_bytes += size_bytes
        self.tick()

    def tick(self) -> None:
        """Log a line if one is due."""
        if self._clock() - self._logged_at >= self._every_s:
            self._log(self.line())
            self._logged_at = self._clock()

    def finish(self) -> dict[str, float]:
        """Log the last line; give `items`, `failed`, `bytes`, `seconds`, `items_per_s` and `bytes_per_s`."""
        self._log(self.line())
        seconds = self._seconds()
        return {
            "items": self.items,
            "failed": self.failed,
            "bytes": self.size_bytes,
            "seconds": round(seconds, 3),
            "items_per_s": round(_rate(self.items, seconds), 3),
            "bytes_per_s": round(_rate(self.size_bytes, seconds)),
        }

    def line(self) -> str:
        """For example `120 of 300 clips, 3 failed, 1.2 GB, 4.1/s, 41 MB/s, 0:00:44 left`."""
        seconds = self._seconds()
        of_total = "" if self._total is None else f" of {self._total}"
        parts = [f"{self.items}{of_total} {self._unit}", f"{self.failed} failed"]
        if self.size_bytes:
            parts.append(_bytes_text(self.size_bytes))
        parts.append(f"{_rate(self.items, seconds):.3g}/s")
        if self.size_bytes:
            parts.append(f"{_bytes_text(_rate(self.size_bytes, seconds))}/s")
        if self._total is not None and 0 < self.items < self._total:
            parts.append(f"{_duration_text((self._total - self.items) * seconds / self.items)} left")
        else:
            parts.append(f"in {_duration_text(seconds)}")
        return ", ".join(parts)

    def _seconds(self) -> float:
        return self._clock() - self._start


def _rate(count: float, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0


def _bytes_text(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.4g} TB"


def _duration_text(seconds: float) -> str:
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole_seconds:02}"

"""Windows of a fleet-local day, which of them to ask for, and in which order.

A window where the service has nothing makes those shortly after it unlikely: they are asked last. What was not asked is
unknown, never missing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from zoneinfo import ZoneInfo

from video_assets.errors import VideoAssetsError
from video_assets.settings import Settings

LOOK_BACK_DAYS = 5
SKIP_AHEAD_S = 300


class InvalidWindows(VideoAssetsError):
    """A day or hours that cannot be asked for."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A stretch of time in whole epoch seconds, the end not included."""

    start_s: int
    end_s: int

    @property
    def start(self) -> datetime:
        """In UTC."""
        return datetime.fromtimestamp(self.start_s, UTC)


def day_windows(day: Date, zone: ZoneInfo, *, length_s: int = 30, step_s: int | None = None) -> list[Window]:
    """The windows of a zone's day, which has 23 or 25 hours where the clocks change. The last may reach beyond it.

    Args:
        length_s: of a window.
        step_s: from one window to the next; by default the length.
    """
    begin, end = (_midnight(day + timedelta(days=n), zone) for n in (0, 1))
    return [Window(start, start + length_s) for start in range(begin, end, step_s or length_s)]


def within_hours(windows: Iterable[Window], hours: str, zone: ZoneInfo) -> list[Window]:
    """The windows that begin within `HH:MM-HH:MM` of the zone's clock, the end not included.

    An hour that comes twice is taken twice; one that does not come has no windows.

    Raises:
        InvalidWindows: of another form, or ending before it begins.
    """
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)[-–]([01]\d|2[0-4]):([0-5]\d)", hours)
    if found is None:
        raise InvalidWindows(f"hours {hours!r}", "are not HH:MM-HH:MM", "Write for example 08:30-17:00.")
    first, last = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
    if not first < last <= 24 * 60:
        raise InvalidWindows(f"hours {hours!r}", "end before they begin", "Ask for two stretches, one after the other.")
    chosen = []
    for window in windows:
        local = window.start.astimezone(zone)
        if first <= local.hour * 60 + local.minute < last:
            chosen.append(window)
    return chosen


def sample(windows: list[Window], count: int, seed: int) -> list[Window]:
    """So many of the windows, in order; the same for the same seed."""
    return sorted(random.Random(seed).sample(windows, min(count, len(windows))))  # noqa: S311


def chosen_windows(
    settings: Settings,
    day: Date | None,
    hours: str | None,
    count: int | None,
    seed: int,
    *,
    now: datetime | None = None,
) -> tuple[Date, list[Window]]:
    """The windows of a day (the newest, for None), of some hours, or so many drawn at random.

    Raises:
        InvalidWindows.
    """
    zone, now = ZoneInfo(settings.timezone), now or datetime.now(UTC)
    day = day or newest_day(zone, now)
    check_day(day, zone, now, look_back_days=settings.fleet_lookback_days)
    windows = day_windows(day, zone, length_s=settings.fleet_window_s, step_s=settings.fleet_step_s)
    if hours is not None:
        windows = within_hours(windows, hours, zone)
    return day, windows if count is None else sample(windows, count, seed)


def check_day(day: Date, zone: ZoneInfo, now: datetime, *, look_back_days: int = LOOK_BACK_DAYS) -> None:
    """Refuses a day that is not over by UTC, or that the service does not keep any more.

    Raises:
        InvalidWindows: with the days that can be asked for.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    newest = newest_day(zone, now)
    if _midnight(day + timedelta(days=1), zone) > today.timestamp():
        cause = f"is not over at 00:00 UTC of today ({today.date()})"
        raise InvalidWindows(f"day {day}", cause, f"The newest that can be asked for is {newest}.")
    if _midnight(day, zone) < (today - timedelta(days=look_back_days)).timestamp():
        cause = f"lies further back than {look_back_days} days"
        raise InvalidWindows(f"day {day}", cause, f"The newest that can be asked for is {newest}.")


def newest_day(zone: ZoneInfo, now: datetime) -> Date:
    """The zone's newest day that ended before 00:00 UTC of today, or then."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.astimezone(zone).date() - timedelta(days=1)


@dataclass
class Visits:
    """Goes through windows, those behind a hole last.

    Args:
        windows: in order.
        has_footage: asks for one; whether the service has it.
        skip_ahead_s: how long after a hole windows are put off.
        sparse: leave what was put off unasked.
    """

    windows: list[Window]
    has_footage: Callable[[Window], bool]
    skip_ahead_s: int = SKIP_AHEAD_S
    sparse: bool = False

    def __post_init__(self) -> None:
        self.left: list[Window] = []
        """Put off and not asked yet."""

    def __iter__(self) -> Iterator[tuple[Window, bool]]:
        """Each window that is asked for, and whether there is footage."""
        resume_s = 0
        for window in self.windows:
            if window.start_s < resume_s:
                self.left.append(window)
                continue
            found = self.has_footage(window)
            if not found:
                resume_s = window.start_s + self.skip_ahead_s
            yield window, found
        while self.left and not self.sparse:
            window = self.left.pop(0)
            yield window, self.has_footage(window)


def _midnight(day: Date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())

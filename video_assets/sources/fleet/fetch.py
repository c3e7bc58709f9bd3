"""Footage of vehicles' days from a fleet's batch API: which windows are due, asked for and fetched by several threads.

What each window turned out to be is kept, so that a rerun asks for nothing twice.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from video_assets.settings import Settings, SettingsError, variable
from video_assets.sources.fleet.client import FleetClient
from video_assets.sources.fleet.errors import FleetError, FleetStopped
from video_assets.sources.fleet.states import BAG, Camera, CameraWindows, FolderWindows, State
from video_assets.sources.fleet.token import FleetToken
from video_assets.sources.fleet.windows import SKIP_AHEAD_S, Visits, Window

FAILURES_IN_A_ROW = 10
"""So many windows that fail one after the other are no fault of theirs: the service is away, and the run stops."""


@dataclass
class FetchResult:
    """Windows by what became of them in this run; `left` were not asked, `earlier` are known from before."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    stopped: str = ""
    is_away: bool = False
    """Whether it was stopped since nothing came of asking, and not for the token."""

    def __str__(self) -> str:
        return ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())) or "nothing to ask for"


def fleet_client(settings: Settings) -> FleetClient:
    """As a deployment has it set up; raises SettingsError or FleetStopped where something is missing."""
    if settings.fleet_url is None:
        raise SettingsError(variable("fleet_url"), "is not set", "Set it to the fleet's batch API.")
    if importlib.util.find_spec("httpx") is None:
        raise FleetStopped("package httpx", "is not installed", "Run: pip install 'video-assets[fleet]'")
    return FleetClient(
        settings.fleet_url,
        FleetToken(settings.fleet_token, settings.fleet_token_file),
        interval_s=settings.fleet_interval_s,
        max_wait_s=settings.fleet_max_wait_s,
        min_valid_bytes=settings.fleet_min_valid_bytes,
    )


@dataclass(frozen=True)
class FleetFetch:
    """Fetches windows.

    Args:
        client: of the service.
        place: where a camera's bags go, and what is known of its windows.
        recheck_s: how long a window without footage is not asked for again.
        sparse: leave windows behind a hole unasked.
        most_files: per vehicle and day, those of before included; None: no limit.
        max_attempts: a window that failed so often is left; None: it is asked for in every run.
        download: False: only find out what there is.
    """

    client: FleetClient
    place: Callable[[Camera], CameraWindows]
    recheck_s: float = 86_400.0
    sparse: bool = False
    most_files: int | None = None
    max_attempts: int | None = None
    download: bool = True

    @classmethod
    def into_folder(cls, settings: Settings, root: Path, **options: Any) -> FleetFetch:
        """Into a folder whose keys are those of the path template, which must name vehicle, camera and start."""
        template = dataclasses.replace(settings.template(), extensions=(BAG,))
        place = partial(FolderWindows, root, template)
        return cls(fleet_client(settings), place, recheck_s=settings.fleet_recheck_s, **options)

    def run(
        self,
        wanted: Iterable[tuple[Camera, list[Window]]],
        *,
        workers: int = 4,
        report: Callable[[FetchResult], None] = lambda result: None,
    ) -> FetchResult:
        """Every camera's windows, several cameras at a time. A token that is not taken stops it; a rerun goes on."""
        cameras = [(self.place(camera), camera, windows) for camera, windows in wanted]
        state = _Run(self, _Cap.over(cameras, self.most_files if self.download else None), report)
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(state.camera, *one) for one in cameras]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                # Somebody stops the run: no thread begins another window.
                state.stop("the run is stopped")
                raise
        return state.result

    def is_due(self, window: Window, place: CameraWindows) -> bool:
        """Whether a window is asked for in this run."""
        known = place.known(window)
        if known.state == "missing":
            return time.time() - known.at_s >= self.recheck_s
        if known.state == "failed" and self.max_attempts is not None and known.attempts >= self.max_attempts:
            return False
        if not self.download:
            return known.state not in ("available", "saved")
        # A bag that somebody took away is fetched again.
        return not place.has_bag(window)


class _Cap:
    """How many files each vehicle's day may still get. A place is taken before a window is asked for."""

    def __init__(self, left: Counter[tuple[str, str]] | None) -> None:
        self._left, self._lock = left, Lock()

    @classmethod
    def over(cls, cameras: list[tuple[CameraWindows, Camera, list[Window]]], most: int | None) -> _Cap:
        if most is None:
            return cls(None)
        left: Counter[tuple[str, str]] = Counter()
        for place, camera, windows in cameras:
            left.setdefault(_day_of(camera), most)
            left[_day_of(camera)] -= sum(place.has_bag(window) for window in windows)
        return cls(left)

    def take(self, camera: Camera) -> bool:
        """Takes a place; False where there is none."""
        with self._lock:
            if self._left is not None:
                if self._left[_day_of(camera)] <= 0:
                    return False
                self._left[_day_of(camera)] -= 1
            return True

    def give_back(self, camera: Camera) -> None:
        """No file came of it."""
        with self._lock:
            if self._left is not None:
                self._left[_day_of(camera)] += 1


def _day_of(camera: Camera) -> tuple[str, str]:
    return camera.vehicle, str(camera.day)


class _Run:
    """What the threads of a run share."""

    def __init__(self, fetch: FleetFetch, cap: _Cap, report: Callable[[FetchResult], None]) -> None:
        self.result = FetchResult()
        self._fetch, self._cap, self._report = fetch, cap, report
        self._lock = Lock()
        self._in_a_row = 0

    def stop(self, why: str, *, is_away: bool = False) -> None:
        with self._lock:
            if not self.result.stopped:
                self.result.stopped, self.result.is_away = why, is_away

    def camera(self, place: CameraWindows, camera: Camera, windows: list[Window]) -> None:
        fetch = self._fetch
        due = [window for window in windows if fetch.is_due(window, place)]
        for _ in range(len(windows) - len(due)):
            self._note("earlier")
        visits = Visits(due, lambda window: self._ask(place, camera, window), SKIP_AHEAD_S, fetch.sparse)
        asked, going = 0, iter(visits)
        try:
            while not self.result.stopped and self._cap.take(camera):
                if next(going, None) is None:
                    break
                asked += 1
        except FleetStopped as error:
            self.stop(str(error))
        except Exception:
            # The disk or the store is away: no thread begins another window.
            self.stop("the run is stopped")
            raise
        for _ in range(len(due) - asked):
            self._note("left")

    def _ask(self, place: CameraWindows, camera: Camera, window: Window) -> bool:
        """Finds and fetches one window; whether there is footage. What failed counts as footage: it may be."""
        try:
            state = self._find(place, camera, window)
        except FleetError as error:
            self._cap.give_back(camera)
            told = f"{camera.camera} {window.start:%Y-%m-%d %H:%M:%S}: {error}"
            place.note(window, "failed", told)
            self._note("failed", f"{camera.vehicle} {told}")
            if self._in_a_row >= FAILURES_IN_A_ROW:
                cause = f"{FAILURES_IN_A_ROW} windows failed one after the other, the last: {error.item} {error.cause}"
                self.stop(f"{cause}. Look at the service, and run again: what is done stays done.", is_away=True)
            return True
        if state == "missing":
            self._cap.give_back(camera)
        place.note(window, state)
        self._note(state)
        return state != "missing"

    def _find(self, place: CameraWindows, camera: Camera, window: Window) -> State:
        name = self._fetch.client.find(camera.vehicle, camera.camera, window.start_s, window.end_s)
        if name is None:
            return "missing"
        if not self._fetch.download:
            return "available"
        place.take(self._fetch.client, name, window)
        return "saved"

    def _note(self, what: str, error: str = "") -> None:
        with self._lock:
            self.result.counts[what] += 1
            if error:
                self.result.errors.append(error)
            if what != "earlier":
                self._in_a_row = self._in_a_row + 1 if what == "failed" else 0
            self._report(self.result)

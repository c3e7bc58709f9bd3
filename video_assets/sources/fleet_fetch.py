"""Footage of a vehicle's day from a fleet's batch API into a folder, laid out by the path template: a source like any.

What each window turned out to be is kept beside the bags, so that a rerun asks for nothing twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date as Date
from pathlib import Path
from threading import Lock
from typing import Any, Literal, cast, get_args

from video_assets.keys import check_id
from video_assets.path_template import PathTemplate
from video_assets.settings import Settings, SettingsError
from video_assets.sources.fleet_client import FleetClient
from video_assets.sources.fleet_errors import FleetError, FleetStopped
from video_assets.sources.fleet_token import FleetToken
from video_assets.sources.fleet_windows import SKIP_AHEAD_S, Visits, Window

State = Literal["available", "missing", "saved", "failed", "unknown"]
"""Of a window: footage is there; is not; is fetched; could not be fetched or asked for; was not asked."""

BAG = ".bag"


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of one vehicle on one day."""

    vehicle: str
    camera: str
    day: Date

    def __post_init__(self) -> None:
        check_id("vehicle", self.vehicle)
        check_id("camera", self.camera)


@dataclass
class WindowStates:
    """What is known of a camera's windows, kept in a file of one line for each news; the last one counts."""

    path: Path
    states: dict[int, tuple[State, float]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> WindowStates:
        """What earlier runs left. A line that a kill cut off, or that cannot be read, is a window that is unknown."""
        found = cls(path)
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_text("utf-8", "replace").splitlines():
                with contextlib.suppress(ValueError):
                    start, state, at = line.split()
                    if state in get_args(State):
                        found.states[int(start)] = (cast("State", state), float(at))
        return found

    def put(self, window: Window, state: State) -> None:
        """Notes it, in the file before it returns."""
        self.states[window.start_s] = (state, time.time())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            # On a line of its own, whatever a kill left behind.
            file.write(f"\n{window.start_s} {state} {time.time():.0f}\n")

    def of(self, window: Window) -> State:
        """What is known of a window."""
        return self.states.get(window.start_s, ("unknown", 0.0))[0]

    def asked_s_ago(self, window: Window) -> float:
        """Seconds since it was asked for."""
        return time.time() - self.states[window.start_s][1]


@dataclass
class FetchResult:
    """Windows by what became of them in this run; `left` were not asked, `earlier` are known from before."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    stopped: str = ""

    def __str__(self) -> str:
        return ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())) or "nothing to ask for"


@dataclass(frozen=True)
class FleetFetch:
    """Fetches windows into `root`.

    Args:
        client: of the service.
        root: the folder; keys in it are those of `template`.
        template: which must name vehicle, camera and start.
        recheck_s: how long a window without footage is not asked for again.
        sparse: leave windows behind a hole unasked.
        most_files: per camera and run; None: no limit.
        download: False: only find out what there is.
    """

    client: FleetClient
    root: Path
    template: PathTemplate
    recheck_s: float = 86_400.0
    sparse: bool = False
    most_files: int | None = None
    download: bool = True

    @classmethod
    def of(cls, settings: Settings, root: Path, **options: Any) -> FleetFetch:
        """As a deployment has it set up; raises SettingsError or FleetStopped where something is missing."""
        if settings.fleet_url is None:
            raise SettingsError("VIDEO_ASSETS_FLEET_URL", "is not set", "Set it to the fleet's batch API.")
        client = FleetClient(
            settings.fleet_url,
            FleetToken(settings.fleet_token, settings.fleet_token_file),
            interval_s=settings.fleet_interval_s,
            max_wait_s=settings.fleet_max_wait_s,
            min_valid_bytes=settings.fleet_min_valid_bytes,
        )
        template = dataclasses.replace(settings.template(), extensions=(BAG,))
        return cls(client, root, template, **options)

    def run(
        self,
        wanted: Iterable[tuple[Camera, list[Window]]],
        *,
        workers: int = 4,
        report: Callable[[FetchResult], None] = lambda result: None,
    ) -> FetchResult:
        """Every camera's windows, several cameras at a time. A token that is not taken stops it; a rerun goes on."""
        result, lock = FetchResult(), Lock()

        def note(what: str, error: str = "") -> None:
            with lock:
                result.counts[what] += 1
                if error:
                    result.errors.append(error)
                report(result)

        def one(camera: Camera, windows: list[Window]) -> None:
            if result.stopped:
                return
            try:
                self._camera(camera, windows, note, lambda: bool(result.stopped))
            except FleetStopped as error:
                with lock:
                    result.stopped = result.stopped or str(error)

        with ThreadPoolExecutor(workers) as pool:
            for future in [pool.submit(one, camera, windows) for camera, windows in wanted]:
                future.result()
        return result

    def states_of(self, camera: Camera) -> WindowStates:
        """What is known of a camera's windows."""
        return WindowStates.load(self.root / ".fleet" / camera.vehicle / str(camera.day) / f"{camera.camera}.json")

    def _camera(
        self, camera: Camera, windows: list[Window], note: Callable[..., None], stopped: Callable[[], bool]
    ) -> None:
        states = self.states_of(camera)
        due = [window for window in windows if self._is_due(camera, window, states)]
        for _ in range(len(windows) - len(due)):
            note("earlier")
        visits = Visits(due, lambda window: self._ask(camera, window, states, note), SKIP_AHEAD_S, self.sparse)
        asked, going = 0, iter(visits)
        while not stopped() and not self._is_full(camera, windows, states) and next(going, None) is not None:
            asked += 1
        for _ in range(len(due) - asked):
            note("left")

    def _is_due(self, camera: Camera, window: Window, states: WindowStates) -> bool:
        state = states.of(window)
        if state == "missing":
            return states.asked_s_ago(window) >= self.recheck_s
        if not self.download:
            return state not in ("available", "saved")
        # A bag that somebody took away is fetched again.
        return not self._place(camera, window).is_file()

    def _is_full(self, camera: Camera, windows: list[Window], states: WindowStates) -> bool:
        return self.most_files is not None and sum(states.of(w) == "saved" for w in windows) >= self.most_files

    def _ask(self, camera: Camera, window: Window, states: WindowStates, note: Callable[..., None]) -> bool:
        """Finds and fetches one window; whether there is footage. What failed counts as footage: it may be."""
        try:
            name = self.client.find(camera.vehicle, camera.camera, window.start_s, window.end_s)
            if name is None:
                state: State = "missing"
            elif self.download:
                self.client.fetch(name, self._place(camera, window))
                state = "saved"
            else:
                state = "available"
        except FleetError as error:
            states.put(window, "failed")
            note("failed", f"{camera.vehicle} {camera.camera} {window.start:%Y-%m-%d %H:%M:%S}: {error}")
            return True
        states.put(window, state)
        note(state)
        return state != "missing"

    def _place(self, camera: Camera, window: Window) -> Path:
        return self.root / self.template.format(camera.vehicle, camera.camera, window.start, BAG)

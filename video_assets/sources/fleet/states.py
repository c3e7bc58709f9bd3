"""What is known of the windows of a fleet's cameras, and where their bags go."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from datetime import date as Date
from pathlib import Path
from typing import Literal, Protocol, cast, get_args

from video_assets.keys import check_id
from video_assets.path_template import PathTemplate
from video_assets.sources.fleet.client import FleetClient
from video_assets.sources.fleet.windows import Window

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


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a window.

    Attributes:
        at_s: when it was asked for, in epoch seconds.
        attempts: how often in a row it failed.
        error: of the last attempt.
    """

    state: State = "unknown"
    at_s: float = 0.0
    attempts: int = 0
    error: str = ""

    def after(self, state: State, error: str = "") -> Known:
        """What is known once it was asked for again, now."""
        return Known(state, round(time.time(), 3), self.attempts + 1 if state == "failed" else 0, error)


class CameraWindows(Protocol):
    """One camera's windows; no two threads use one."""

    def known(self, window: Window) -> Known:
        """What is known of a window."""

    def note(self, window: Window, state: State, error: str = "") -> None:
        """Writes down what it turned out to be."""

    def has_bag(self, window: Window) -> bool:
        """Whether its bag lies there."""

    def take(self, client: FleetClient, name: str, window: Window) -> None:
        """Fetches its bag to its place, whole or not at all; raises as `FleetClient.fetch` does."""


@dataclass
class FolderWindows:
    """A camera's windows in a folder: bags by the path template, and a file of lines, of which the last counts."""

    root: Path
    template: PathTemplate
    camera: Camera
    _found: dict[int, Known] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Reads what earlier runs left. A line that a kill cut off, or that cannot be read, is a window not known."""
        with contextlib.suppress(FileNotFoundError):
            for line in self._path.read_text("utf-8", "replace").splitlines():
                with contextlib.suppress(ValueError):
                    start, state, at = line.split()
                    if state in get_args(State):
                        self._found[int(start)] = Known(cast("State", state), float(at))

    def known(self, window: Window) -> Known:
        return self._found.get(window.start_s, Known())

    def note(self, window: Window, state: State, error: str = "") -> None:
        self._found[window.start_s] = known = self.known(window).after(state, error)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            # On a line of its own, whatever a kill left behind.
            file.write(f"\n{window.start_s} {state} {int(known.at_s)}\n")  # Cut off: rounded up, it would lie ahead.

    def has_bag(self, window: Window) -> bool:
        return self._place(window).is_file()

    def take(self, client: FleetClient, name: str, window: Window) -> None:
        client.fetch(name, self._place(window))

    @property
    def _path(self) -> Path:
        return self.root / ".fleet" / self.camera.vehicle / str(self.camera.day) / f"{self.camera.camera}.json"

    def _place(self, window: Window) -> Path:
        return self.root / self.template.format(self.camera.vehicle, self.camera.camera, window.start, BAG)

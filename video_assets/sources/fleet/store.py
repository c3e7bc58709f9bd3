"""The bags of a vehicle's day in the managed store, and what is known of its windows.

A bag is there whole or not at all, and names its window: its object is its record. Other answers are written down in
small objects, one a second at most, that the end of a run joins into one; a kill costs those of its last second.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, cast, get_args

from video_assets.keys import Partition, blobs_prefix, fleet_bag_key, fleet_bag_window, items_prefix
from video_assets.sources.fleet.client import FleetClient
from video_assets.sources.fleet.states import Camera, Known, State
from video_assets.sources.fleet.windows import Window
from video_assets.storage.object_store import STREAM_CHUNK_BYTES, ObjectInfo, ObjectNotFound, ObjectStore
from video_assets.tables import FLEET_WINDOWS

NOTE_S = 1.0
"""How often answers are written down."""

_MOST_ERROR = 500

CameraWindow = tuple[str, Window]


@dataclass
class StoreWindows:
    """A vehicle's day, for any number of threads; one process at a time writes to it. Use it as a context manager."""

    store: ObjectStore
    partition: Partition
    bags: dict[CameraWindow, ObjectInfo] = field(default_factory=dict, init=False)
    _known: dict[CameraWindow, Known] = field(default_factory=dict, init=False)
    _news: list[CameraWindow] = field(default_factory=list, init=False)
    _notes: list[str] = field(default_factory=list, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)
    _noted_at: float = field(default=0.0, init=False)

    def __enter__(self) -> StoreWindows:
        """Reads what earlier runs left."""
        prefix = blobs_prefix(FLEET_WINDOWS.name, self.partition)
        for info in self.store.list(prefix):
            if found := fleet_bag_window(FLEET_WINDOWS.name, self.partition, info.key):
                self.bags[found[0], Window(*found[1:])] = info
        for info in self.store.list(items_prefix(FLEET_WINDOWS.name, self.partition)):
            self._notes.append(info.key)
            with contextlib.suppress(ObjectNotFound):
                self._read(self.store.get(info.key))
        return self

    def __exit__(self, *error: object) -> None:
        """Joins what was written down, also where a run is stopped."""
        if len(self._notes) + bool(self._news) > 1 or self._news:
            before, self._notes = self._notes, []
            self._write(self._known)
            for key in before:
                self.store.delete(key)

    def known(self, camera: str, window: Window) -> Known:
        """What is known of a window. One whose bag is gone is unknown."""
        known = self._known.get((camera, window), Known())
        if (camera, window) in self.bags:
            return known if known.state == "saved" else Known("saved", known.at_s)
        return Known() if known.state == "saved" else known

    def windows(self) -> set[CameraWindow]:
        """Every window that was ever asked for, or has a bag."""
        return {*self._known, *self.bags}

    def note(self, camera: str, window: Window, state: State, error: str = "") -> None:
        """Keeps an answer, and now and then writes down those since the last time."""
        with self._lock:
            self._known[camera, window] = self.known(camera, window).after(state, error[:_MOST_ERROR])
            self._news.append((camera, window))
            if time.monotonic() - self._noted_at >= NOTE_S:
                self._write({news: self._known[news] for news in self._news})
                self._noted_at = time.monotonic()

    def take(self, client: FleetClient, name: str, camera: str, window: Window) -> None:
        """Fetches a bag into the store, by way of a nameless file in the system's temporary folder."""
        key = fleet_bag_key(FLEET_WINDOWS.name, self.partition, camera, window.start_s, window.end_s)
        with tempfile.TemporaryFile(prefix="video_assets_") as file:
            client.fetch_into(name, file)
            file.seek(0)
            info = self.store.put(key, iter(lambda: file.read(STREAM_CHUNK_BYTES), b""))
        with self._lock:
            self.bags[camera, window] = info

    def camera(self, camera: Camera) -> _OneCamera:
        """One camera's windows of this day."""
        return _OneCamera(self, camera.camera)

    def _write(self, known: Mapping[CameraWindow, Known]) -> None:
        lines = [
            json.dumps([camera, window.start_s, window.end_s, one.state, one.at_s, one.attempts, one.error])
            for (camera, window), one in known.items()
        ]
        key = f"{items_prefix(FLEET_WINDOWS.name, self.partition)}{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.jsonl"
        self.store.put(key, ("\n".join(lines) + "\n").encode())
        self._notes.append(key)
        self._news.clear()

    def _read(self, data: bytes) -> None:
        """Takes what is newer than what is known. A line that cannot be read says nothing."""
        for line in data.decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                camera, start, end, state, at, attempts, error = cast("list[Any]", json.loads(line))
                window = str(camera), Window(int(start), int(end))
                known = Known(state, float(at), int(attempts), str(error))
                if state in get_args(State) and known.at_s >= self._known.get(window, Known()).at_s:
                    self._known[window] = known


@dataclass(frozen=True)
class _OneCamera:
    """`CameraWindows` of a `StoreWindows`."""

    day: StoreWindows
    name: str

    def known(self, window: Window) -> Known:
        return self.day.known(self.name, window)

    def note(self, window: Window, state: State, error: str = "") -> None:
        self.day.note(self.name, window, state, error)

    def has_bag(self, window: Window) -> bool:
        return (self.name, window) in self.day.bags

    def take(self, client: FleetClient, name: str, window: Window) -> None:
        self.day.take(client, name, self.name, window)

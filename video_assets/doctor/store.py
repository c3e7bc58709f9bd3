"""Checks of where tables, records and blobs go."""

from __future__ import annotations

import os
import shutil

from video_assets.dagster_home import home_folder
from video_assets.doctor.finding import Finding, Verdict
from video_assets.doctor.index import points_of_index
from video_assets.doctor.place import is_folder, local_folder
from video_assets.environment import environment
from video_assets.errors import VideoAssetsError
from video_assets.folder_probe import require_writable
from video_assets.settings import Settings, variable
from video_assets.storage.registry import open_store

LOW_DISK_BYTES = 5 * 1000**3

LOCK_S = 35.0
"""How long a lock of a dead doctor may be waited for: a lease, and a little."""


def store_finding(settings: Settings) -> Finding:
    """Whether the store can be written and read."""
    folder = local_folder(settings.store)
    if folder is None:
        return _remote_store(settings)
    require_writable(folder)
    if not folder.exists():
        return _store_not_made(settings)
    # Opened for what only a store can refuse.
    open_store(settings.store)
    free = shutil.disk_usage(folder).free
    text = f"{settings.store} can be written and read, {free / 1000**3:.0f} GB free"
    if free < LOW_DISK_BYTES:
        return Finding("store", "warning", text, f"Free space, or set {variable('store')} to another disk.")
    return Finding("store", "ok", text)


def _store_not_made(settings: Settings) -> Finding:
    """A store that is missing is normal on the first day, and lost data after it."""
    if lost := _signs_of_loss(settings):
        return lost
    return Finding("store", "ok", f"{settings.store}: nothing made yet; it is made by the first run")


def _signs_of_loss(settings: Settings) -> Finding | None:
    """What says that there was something in the store, where there is nothing now."""
    try:
        points = sum(points_of_index(settings).values())
    except VideoAssetsError:
        points = 0  # The index has a finding of its own.
    runs = home_folder(environment().get("DAGSTER_HOME")) / "history" / "runs.db"
    signs = [f"the index holds {points} points"] * (points > 0)
    signs += [f"{runs.parent.parent} has a history"] * runs.is_file()
    if not signs:
        return None
    is_local = is_folder(settings.store)
    gone, mount = ("is not there", "Mount its disk, or correct") if is_local else ("holds nothing", "Correct")
    remedy = f"{mount} {variable('store')}. If it was deleted, run every partition again."
    verdict: Verdict = "failed" if points else "warning"
    return Finding("store", verdict, f"{settings.store} {gone}, but {' and '.join(signs)}", remedy)


def _remote_store(settings: Settings) -> Finding:
    """A round trip of one byte, with what the chain asks of a store: conditions and locks."""
    store = open_store(settings.store, create=True)
    is_empty = next(iter(store.list()), None) is None
    key = f"doctor/{os.getpid()}"
    store.put(key, b"1")
    try:
        if store.get(key) != b"1":
            return Finding("store", "failed", f"{store.uri} does not give back what was put", "Look at its disk.")
        keeps_conditions = store.conditional_put
        with store.lock("doctor", timeout_s=LOCK_S):
            pass
    finally:
        store.delete(key)
    if is_empty and (lost := _signs_of_loss(settings)):
        return lost
    conditions = "it refuses to overwrite where asked" if keeps_conditions else "it overwrites even where asked not to"
    held = "" if keeps_conditions else " (nothing relies on it)"
    text = f"a byte was put, read and deleted; {conditions}{held}; a lock was taken and freed"
    return Finding("store", "ok", f"{store.uri}: {text}{'; nothing made yet' * is_empty}")

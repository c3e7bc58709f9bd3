"""Events of the file system, as a hint that there may be something new; the look through the folder is what counts."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

_logger = logging.getLogger(__name__)

_KINDS = {"created", "modified", "moved", "closed", "deleted"}
"""Not what reading a file causes: the watcher would wake itself."""


@contextlib.contextmanager
def folder_events(folder: Path, wake: threading.Event) -> Iterator[None]:
    """Sets `wake` whenever something below the folder changes. Where that cannot be had, rescans alone find it."""
    try:
        from watchdog.events import FileSystemEvent, FileSystemEventHandler
        from watchdog.observers import Observer
    except ImportError:
        _logger.warning(
            "watchdog is not installed, so files are noticed by rescans only: pip install 'video-assets[edge]'"
        )
        yield
        return

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type in _KINDS:
                wake.set()

    observer = Observer()
    try:
        observer.schedule(Handler(), str(folder), recursive=True)
        observer.start()
    except OSError as error:
        # No such folder yet, or the limit of inotify watches.
        _logger.warning("%s: no events (%s), so files are noticed by rescans only", folder, error.strerror or error)
        yield
        return
    try:
        yield
    finally:
        observer.stop()

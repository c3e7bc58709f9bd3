"""Files that a local store is still writing: `<root>/.tmp/<32 hex digits>`, each under its writer's flock.

The kernel drops the flock when the writer dies, however it dies. So a temporary whose flock is free is a dead
writer's, whatever its age, and a sweeper may remove it; one whose flock is held is in use, in whatever process.
"""

# Names are bytes here, so that any name works; pathlib has none.
# ruff: noqa: PTH102, PTH108
from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
import uuid

from video_assets.storage.local_files import unavailable_on_os_error
from video_assets.storage.object_keys import HIDDEN_FOLDER
from video_assets.storage.positioned_file import PositionedFile

_NAME = re.compile(rb"[0-9a-f]{32}")


def hidden_folder(root: bytes) -> bytes:
    """The store's own folder, made if missing. The root itself is never made: it may be an unmounted disk.

    Raises:
        OSError: as the system says it.
    """
    folder = root + b"/" + HIDDEN_FOLDER.encode()
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    return folder


class Temporary:
    """A new file on the store's disk that no reader knows. Close it when it is published or given up.

    Args:
        root: the store's root.
        item: what it will become, for errors.

    Attributes:
        file: for writes at any place; `size_bytes` is then to be set to the whole.

    Raises:
        StoreUnavailable: from every method.
    """

    def __init__(self, root: bytes, item: str) -> None:
        self._item = item
        with unavailable_on_os_error(item):
            self.path, self._descriptor = _create_locked(hidden_folder(root))
        self.file = PositionedFile(self._descriptor, item)
        self.size_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends all of `data`, or, where it raises, nothing."""
        self.file.write_at(self.size_bytes, data)
        self.size_bytes += memoryview(data).nbytes

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` of the bytes written, from `start`."""
        with unavailable_on_os_error(self._item):
            return os.pread(self._descriptor, length, start)

    def finish(self) -> os.stat_result:
        """Puts the bytes on the disk and returns the file's final status.

        The time is set from the fine clock: the kernel's own ticks in milliseconds, and a freed inode number is
        given out again, so two versions written within one tick could otherwise have one etag.
        """
        now = time.time_ns()
        with unavailable_on_os_error(self._item):
            os.ftruncate(self._descriptor, self.size_bytes)
            os.utime(self._descriptor, ns=(now, now))
            os.fsync(self._descriptor)
            return os.fstat(self._descriptor)

    def close(self) -> None:
        """Removes the temporary name, if it is still there, and drops the flock."""
        with unavailable_on_os_error(self._item), contextlib.suppress(FileNotFoundError):
            try:
                os.unlink(self.path)
            finally:
                os.close(self._descriptor)


def _create_locked(folder: bytes) -> tuple[bytes, int]:
    """A new empty file and its descriptor, which holds the flock."""
    while True:
        path = folder + b"/" + uuid.uuid4().hex.encode()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Between the creation and the flock a sweeper may have taken the file for a dead writer's.
            if os.fstat(descriptor).st_nlink > 0:
                return path, descriptor
        except BaseException:
            os.unlink(path)
            os.close(descriptor)
            raise
        os.close(descriptor)


def remove_dead(root: bytes) -> int:
    """Removes the temporaries of dead writers; returns how many.

    What is not named as a temporary stays, and so does what belongs to another user.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        with os.scandir(root + b"/" + HIDDEN_FOLDER.encode()) as entries:
            paths = [e.path for e in entries if _NAME.fullmatch(e.name) and e.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return 0
    return sum(map(_remove_if_dead, paths))


def _remove_if_dead(path: bytes) -> bool:
    try:
        # Opened for writing, as an exclusive flock needs over NFS.
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except (BlockingIOError, FileNotFoundError, PermissionError):
        return False
    finally:
        os.close(descriptor)
    return True

"""One file of a local store: where it is, what version it is, and reads that never mix two versions.

Everything here takes the bytes of a name, so that names which are not UTF-8 work and no locale matters.

The version of a local file is its size, modification time (ns) and inode number. A file that is written in place
twice within one tick of the kernel's clock (1 to 10 ms), to the same size, keeps its version: that is why sources
have a settle time. Objects that a store itself publishes carry a time of the fine clock instead.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_from_bytes

from video_assets.storage.object_keys import printable_key
from video_assets.storage.object_store import InvalidKey, ObjectInfo, ObjectUnreadable, StoreUnavailable, object_changed

ABSENT_ERRNOS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO})
"""What the system says where there is no such file: also for a dangling or circular link, or a socket."""

_UNREADABLE_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EIO})
"""What the system says of one file that nobody may read, or that lies on a bad sector."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_REMEDIES = {
    errno.ENOENT: "Make the folder, mount its disk, or correct the URI.",
    errno.EACCES: "Give this user the permission, or run as the user who owns it.",
    errno.EPERM: "Give this user the permission, or run as the user who owns it.",
    errno.EROFS: "Mount the disk for writing or choose another folder.",
    errno.ENOSPC: "Free space on the disk and rerun; nothing was published.",
    errno.EDQUOT: "Free space in the quota and rerun; nothing was published.",
    errno.EXDEV: "A store must lie on one disk: mount the disk at the store's root, not below it.",
}


def encode_key(key: str) -> bytes:
    """The name of a key (or prefix) on the disk; a surrogate-escaped byte becomes that byte again.

    Raises:
        InvalidKey: a surrogate that escapes no byte.
    """
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidKey(f"key '{printable_key(key)}'", "is not valid Unicode") from error


def file_uri(path: bytes) -> str:
    """The `file://` URI of an absolute path (RFC 8089), pure ASCII, the same whatever the version of Python.

    What may stand in a path as it is (RFC 3986) does: `…/date=2026-01-03/…` can be copied out of a URI.
    """
    return "file://" + quote_from_bytes(path, safe="/=:@+,~!$&'()*;")


def decode_key(name: bytes) -> str:
    """The key of a name on the disk; bytes that are not UTF-8 are surrogate-escaped."""
    return name.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def unavailable_on_os_error(item: str) -> Iterator[None]:
    """Turns what is left of the system's errors into `StoreUnavailable` for `item`."""
    try:
        yield
    except OSError as error:
        raise unavailable(item, error) from error


def unavailable(item: str, error: OSError) -> StoreUnavailable:
    """The typed error for one of the system's."""
    cause = f"cannot be used: {error.strerror or error}"
    return StoreUnavailable(item, cause, _REMEDIES.get(error.errno or 0, "Mend the disk or its mount and rerun."))


def unreadable(item: str, error: OSError) -> ObjectUnreadable | StoreUnavailable:
    """The typed error for one of the system's at a single file, of a store that is there."""
    if error.errno not in _UNREADABLE_ERRNOS:
        return unavailable(item, error)
    cause = f"cannot be read: {error.strerror}"
    return ObjectUnreadable(item, cause, _REMEDIES.get(error.errno or 0, "Restore the file from a backup."))


def object_info(key: str, status: os.stat_result) -> ObjectInfo:
    """The listing entry of a file."""
    return ObjectInfo(key, status.st_size, etag_of(status), _modified_at(status))


def etag_of(status: os.stat_result) -> str:
    """The version of a file: size, time and inode number, in hexadecimal."""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"


def _modified_at(status: os.stat_result) -> datetime:
    """The file's time; a time beyond the calendar (some disks hold any 64 bits) becomes its first or last day."""
    try:
        return _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    except OverflowError:
        return (datetime.min if status.st_mtime_ns < 0 else datetime.max).replace(tzinfo=UTC)


class OneVersion:
    """An open regular file, and the version it had when it was opened. Close it.

    Args:
        path: the file.
        item: its URI, for errors.

    Raises:
        FileNotFoundError: nothing there, or a folder, pipe or device.
        OSError: it cannot be opened.
    """

    def __init__(self, path: bytes, item: str) -> None:
        self._item = item
        # O_NONBLOCK: to open a pipe would otherwise wait for its writer, for ever.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._descriptor)
            raise FileNotFoundError(errno.ENOENT, "is not a regular file")
        self.etag = etag_of(status)
        self.size_bytes = status.st_size

    def read(self, start: int, length: int) -> bytes:
        """Bytes `start` to `start + length`, cut at the file's end.

        Raises:
            ObjectChanged: the file is no longer what it was when it was opened.
            ObjectUnreadable: a bad sector.
            StoreUnavailable: the disk is gone.
        """
        pieces = []
        # Never beyond the size known: a file that grows as fast as it is read would have no end.
        length = min(length, self.size_bytes - start)
        try:
            while length > 0 and (piece := os.pread(self._descriptor, length, start)):
                pieces.append(piece)
                start, length = start + len(piece), length - len(piece)
            now = etag_of(os.fstat(self._descriptor))
        except OSError as error:
            raise unreadable(self._item, error) from error
        if now != self.etag:
            raise object_changed(self._item, now, self.etag)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

"""The keys of a folder tree in byte order, without holding more than one folder a level in memory.

Symbolic links are followed, as a source may be built of them. A folder that is its own ancestor (a link that loops)
is not entered. Links that lead nowhere, pipes, sockets and devices are no objects. The store's own `.tmp/` is never
listed. A folder that cannot be read raises; one that vanishes during the listing has no more keys.
"""

# Names are bytes here, so that any name works; pathlib has none.
# ruff: noqa: PTH114, PTH116
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from video_assets.storage.local_files import decode_key, encode_key, object_info, unavailable
from video_assets.storage.object_keys import MAX_SEGMENT_BYTES, is_hidden, printable_key, segment_fault
from video_assets.storage.object_store import CommonPrefix, ObjectInfo, StoreUnavailable

_GONE_ERRNOS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""A name that vanished since it was read, a link that leads nowhere, a path longer than any key may be. Other errors
hide keys, so they raise."""

MAX_LINKS = 3
"""Links to folders that a path may go through: folders that link to each other would be walked in every order."""

_Entry = tuple[bytes, "os.DirEntry[bytes]"]
"""A name in a folder with its key. The key of a folder ends with `/`: so `a.txt` sorts before `a/b`, as keys do."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder in the walk. `key` is empty for the root and else ends with `/`; `identity` is (device, inode); `links`
    counts the symbolic links to folders on the way to it.
    """

    path: bytes
    key: bytes
    identity: tuple[int, int]
    parent: _Folder | None
    links: int = 0


def list_objects(root: bytes, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
    """See `ObjectStore.list`. `root` is a folder that exists."""
    stem, after = encode_key(prefix), encode_key(start_after)
    start = _start_folder(root, prefix)
    # An explicit stack: a hostile tree may be deeper than Python recurses.
    levels = [(start, _sorted_entries(start, stem, after))] if start else []
    while levels:
        folder, entries = levels[-1]
        key, entry = next(entries, (b"", None))
        if entry is None:
            levels.pop()
        elif key.endswith(b"/"):
            if child := _enter(folder, entry.path, key):
                levels.append((child, _sorted_entries(child, stem, after)))
        elif info := _file_info(key, entry):
            yield info


def list_level(root: bytes, prefix: str, start_after: str) -> Iterator[ObjectInfo | CommonPrefix]:
    """See `ObjectStore.list_level`, for the delimiter `/`. Folders without any object are not listed."""
    stem, after = encode_key(prefix), encode_key(start_after)
    start = _start_folder(root, prefix)
    if start is None:
        return
    for key, entry in _sorted_entries(start, stem, after):
        if not key.endswith(b"/"):
            if info := _file_info(key, entry):
                yield info
        elif key > after and _holds_object(_enter(start, entry.path, key)):
            yield CommonPrefix(decode_key(key))


def _start_folder(root: bytes, prefix: str) -> _Folder | None:
    """The deepest folder that all keys with this prefix lie in; None where there cannot be any."""
    folder = _enter(None, root, b"")
    parent = prefix.rpartition("/")[0] if "/" in prefix else None
    if parent is None:
        return folder
    names = encode_key(parent).split(b"/")
    if segment_fault(parent) or max(map(len, names)) > MAX_SEGMENT_BYTES:
        return None
    for name in names:
        if folder is None:
            return None
        folder = _enter(folder, folder.path + b"/" + name, folder.key + name + b"/")
    return folder


def _enter(parent: _Folder | None, path: bytes, key: bytes) -> _Folder | None:
    """The folder at `path`; None where it is no folder, is gone, or is its own ancestor."""
    try:
        status = os.stat(path)
        links = parent.links + os.path.islink(path) if parent else 0
    except OSError as error:
        if error.errno in _GONE_ERRNOS:
            return None
        raise _unreadable(path, error) from error
    folder = _Folder(path, key, (status.st_dev, status.st_ino), parent, links)
    if not stat.S_ISDIR(status.st_mode) or links > MAX_LINKS or _is_own_ancestor(folder):
        return None
    return folder


def _is_own_ancestor(folder: _Folder) -> bool:
    ancestor = folder.parent
    while ancestor:
        if ancestor.identity == folder.identity:
            return True
        ancestor = ancestor.parent
    return False


def _sorted_entries(folder: _Folder, stem: bytes, after: bytes) -> Iterator[_Entry]:
    """The names in a folder that are, or lead to, keys with the prefix `stem` after `after`; in key order.

    The folder is the start folder of `stem` or lies below it.
    """
    found = {
        key: entry
        for key, entry in _entries(folder)
        # Keys below a folder sort after `after` if the folder does, or if `after` lies in it.
        if key.startswith(stem) and (key > after or (key.endswith(b"/") and after.startswith(key)))
    }
    return iter(sorted(found.items()))


def _entries(folder: _Folder) -> Iterator[_Entry]:
    """The names in a folder as the disk has them, without the store's own folder."""
    try:
        with os.scandir(folder.path) as entries:
            for entry in entries:
                if folder.key or not is_hidden(decode_key(entry.name)):
                    yield folder.key + entry.name + (b"/" if _is_folder(entry) else b""), entry
    except OSError as error:
        if error.errno not in _GONE_ERRNOS:
            raise _unreadable(folder.path, error) from error


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in _GONE_ERRNOS:
            return False
        raise _unreadable(entry.path, error) from error


def _file_info(key: bytes, entry: os.DirEntry[bytes]) -> ObjectInfo | None:
    """The listing entry of a regular file; None for anything else, or where it is gone."""
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno in _GONE_ERRNOS:
            return None
        raise _unreadable(entry.path, error) from error
    return object_info(decode_key(key), status) if stat.S_ISREG(status.st_mode) else None


def _holds_object(folder: _Folder | None) -> bool:
    """Whether any regular file lies in or below the folder; stops at the first."""
    pending = [folder] if folder else []
    while pending:
        folder = pending.pop()
        for key, entry in _entries(folder):
            if not key.endswith(b"/"):
                if _file_info(key, entry):
                    return True
            elif child := _enter(folder, entry.path, key):
                pending.append(child)
    return False


def _unreadable(path: bytes, error: OSError) -> StoreUnavailable:
    return unavailable(printable_key(decode_key(path)), error)

"""How a finished temporary becomes an object of a local store, and how an object goes away.

Folders below the root are opened one by one without following links, so a write can never leave the root, not even
when a folder is swapped for a link meanwhile. An operator's link to another disk could not work anyway: a rename
stays on one disk.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from video_assets.storage.local_files import encode_key, unavailable_on_os_error
from video_assets.storage.object_store import InvalidKey, ObjectExists

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_PUBLISH_TRIES = 100
"""A delete may remove an emptied folder between its opening and the rename into it; more often is a broken disk."""


def publish(path: bytes, root: bytes, key: str, item: str, *, if_absent: bool) -> None:
    """Gives the finished file at `path` the name of `key`, in one step and on the disk.

    Raises:
        ObjectExists: `if_absent` and the key is taken.
        InvalidKey: an object stands where a folder is needed, or a folder where the object should be, or a folder
            on the way is a symbolic link.
        StoreUnavailable: the disk refused.
    """
    *folders, name = encode_key(key).split(b"/")
    with unavailable_on_os_error(item):
        for attempt in range(_PUBLISH_TRIES):
            try:
                with _open_folder(root, folders, item, create=True) as folder:
                    _link(path, name, folder, item, if_absent=if_absent)
                    os.fsync(folder)
                    return
            except FileNotFoundError:
                if attempt == _PUBLISH_TRIES - 1:
                    raise


def _link(path: bytes, name: bytes, folder: int, item: str, *, if_absent: bool) -> None:
    try:
        if if_absent:
            os.link(path, name, dst_dir_fd=folder)
        else:
            os.replace(path, name, dst_dir_fd=folder)
    except (FileExistsError, IsADirectoryError) as error:
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise InvalidKey(
                item,
                "is a folder that holds other objects, and a disk cannot hold both",
                "Give the object another name.",
            ) from error
        raise ObjectExists(item, "exists already") from error


def remove(root: bytes, key: str, item: str) -> None:
    """Removes the object, if there is one, and the folders that this leaves empty.

    Raises:
        InvalidKey: a folder on the way is a symbolic link.
        StoreUnavailable: the disk refused.
    """
    *folders, name = encode_key(key).split(b"/")
    with unavailable_on_os_error(item):
        try:
            with _open_folder(root, folders, item, create=False) as folder:
                os.unlink(name, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return
    # Best effort: a folder that another put is using stays.
    with contextlib.suppress(OSError):
        while folders:
            *folders, name = folders
            with _open_folder(root, folders, item, create=False) as folder:
                os.rmdir(name, dir_fd=folder)


@contextlib.contextmanager
def _open_folder(root: bytes, names: list[bytes], item: str, *, create: bool) -> Iterator[int]:
    """A descriptor of the folder `names` below the root, missing folders made if `create`."""
    descriptor = os.open(root, _FOLDER_FLAGS)
    try:
        for name in names:
            child = _open_child(descriptor, name, item, create=create)
            os.close(descriptor)
            descriptor = child
        yield descriptor
    finally:
        os.close(descriptor)


def _open_child(parent: int, name: bytes, item: str, *, create: bool) -> int:
    flags = _FOLDER_FLAGS | os.O_NOFOLLOW
    try:
        try:
            return os.open(name, flags, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
            os.fsync(parent)
        return os.open(name, flags, dir_fd=parent)
    except NotADirectoryError as error:
        cause = _not_a_folder(parent, name, item, create=create)
        raise cause or error from error


def _not_a_folder(parent: int, name: bytes, item: str, *, create: bool) -> InvalidKey | None:
    """The error for a file or link where a folder is needed; None if nothing need be said."""
    shown = name.decode("utf-8", "backslashreplace")
    if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        return InvalidKey(
            item,
            f"lies behind the symbolic link '{shown}', and a store writes below its root only",
            "Open the folder that the link leads to as a store of its own.",
        )
    if create:
        return InvalidKey(
            item,
            f"needs the folder '{shown}', which is an object, and a disk cannot hold both",
            "Give the object another name.",
        )
    return None

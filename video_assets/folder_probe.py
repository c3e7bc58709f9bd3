"""Whether a folder can be written to, found out without leaving anything."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from video_assets.errors import VideoAssetsError

PROBE_BYTES = 1 << 20
"""As much as even a nearly full disk must take."""


class FolderUnwritable(VideoAssetsError):
    """Nothing can be written to a folder, or the folder cannot be made."""


def require_writable(folder: Path) -> None:
    """Writes to the folder and takes it back. Of a folder that is missing, to the nearest above it that is there.

    Raises:
        FolderUnwritable: it cannot be written to, is a file, or could not be made.
    """
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        subject = "" if there == folder else f"{there} "
        raise FolderUnwritable(str(folder), f"{subject}is a file, not a folder", "Name a folder.")
    try:
        # Has no name from the beginning (O_TMPFILE), where the disk can do that.
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        verb = "written to" if there == folder else "made"
        remedy = "Free space on its disk." if full else "Give this user the permission, or name another folder."
        raise FolderUnwritable(str(folder), f"cannot be {verb}: {error.strerror or error}", remedy) from error

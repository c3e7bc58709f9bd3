"""Files that appear whole or not at all: written to a `.part` beside their place, and moved there when whole."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

_PREFIX = ".video_assets-"
_DEAD_S = 86_400
"""A file under way is written to all the time; one not touched for a day is nobody's."""


@contextlib.contextmanager
def part_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A file to write, which has the name `path` after the block, and none after an error. Folders are made.

    Args:
        durable: it is on the disk after the block, its name too, whatever befalls the machine.
    """
    new = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of its own name: a second writer of the same file must not write into this one's.
    with NamedTemporaryFile("w+b", dir=path.parent, prefix=_PREFIX, suffix=".part", delete=False) as out:
        part = Path(out.name)
        try:
            yield cast("BinaryIO", out)
            out.flush()
            part.chmod(0o666 & ~_umask())
            if durable:
                os.fsync(out.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    if durable:
        for folder in (path.parent, *(folder.parent for folder in new)):
            _sync_folder(folder)


def sweep_parts(folders: Iterable[Path], *, older_than_s: float = _DEAD_S) -> None:
    """Removes what a program left in these folders that was killed."""
    for folder in set(folders):
        for part in folder.glob(f"{_PREFIX}*.part"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime >= older_than_s:
                    part.unlink()


def _umask() -> int:
    """A temporary file is its owner's alone; a download is as any file that a program writes."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

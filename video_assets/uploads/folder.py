"""What lies in the watched folder, and which of it has been still for long enough."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from video_assets.errors import VideoAssetsError
from video_assets.storage.object_keys import check_key
from video_assets.storage.object_store import InvalidKey
from video_assets.uploads.source_file import source_away

PART_SUFFIX = ".part"
"""`a.mp4.part` beside `a.mp4`: somebody is still writing it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One video file as a scan found it. `name` is below the folder, with `/`; `version` changes with the file."""

    name: str
    size: int
    mtime_ns: int
    inode: int
    has_part_twin: bool

    @property
    def version(self) -> tuple[int, int, int]:
        """Size, time and inode number."""
        return self.size, self.mtime_ns, self.inode


def scan(folder: Path, extensions: tuple[str, ...]) -> tuple[list[Seen], list[VideoAssetsError]]:
    """The video files below the folder, oldest first, and what could not be looked at.

    Hidden names, links, and what is no regular file are passed over.

    Raises:
        SourceAway: the folder itself cannot be read.
    """
    faults: list[VideoAssetsError] = []

    def fault(error: OSError) -> None:
        if error.filename is None or Path(error.filename) == folder:
            raise source_away(folder, error)
        faults.append(source_away(Path(error.filename), error))

    found: list[Seen] = []
    for at, folders, names in os.walk(folder, onerror=fault):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        together = set(names)
        for name in names:
            if name.startswith(".") or not name.lower().endswith(extensions):
                continue
            path = Path(at) / name
            try:
                status = path.stat(follow_symlinks=False)
                below = check_key(path.relative_to(folder).as_posix())
            except FileNotFoundError:
                continue
            except InvalidKey as error:
                faults.append(error)
                continue
            if stat.S_ISREG(status.st_mode):
                twin = name + PART_SUFFIX in together
                found.append(Seen(below, status.st_size, status.st_mtime_ns, status.st_ino, twin))
    return sorted(found, key=lambda seen: (seen.mtime_ns, seen.name)), faults


class Stillness:
    """Since when each file has been as it is, by this machine's steady clock: a wrong time of day changes nothing."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[tuple[int, int, int], float]] = {}

    def note(self, seen: list[Seen], now: float) -> None:
        """Takes in a scan; forgets files that are gone."""
        before, self._since = self._since, {}
        for file in seen:
            version, since = before.get(file.name, (file.version, now))
            self._since[file.name] = (file.version, since if version == file.version else now)

    def still_s(self, name: str, now: float) -> float:
        """For how many seconds the file has not changed."""
        return now - self._since[name][1]

"""Which numbered folder each file goes to: the last of its vehicle and date while there is room, else a new one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from video_assets.archive.record import ArchivedFile

SUMS = "SHA256SUMS"
"""In each numbered folder, what `sha256sum -c` reads."""

_SUM_BYTES = 64 + len("  \n")


def sum_line(file: ArchivedFile) -> bytes:
    """A file's line of SHA256SUMS."""
    return f"{file.sha256}  {file.name}\n".encode("utf-8", "surrogateescape")


@dataclass
class _LastFolder:
    """The folder with the highest number of a vehicle and date."""

    number: int = 0
    is_open: bool = False
    used_bytes: int = 0
    names: set[str] = field(default_factory=lambda: {SUMS})

    def take(self, name: str, size_bytes: int) -> None:
        self.used_bytes += _cost(name, size_bytes)
        self.names.add(name)


class Folders:
    """The numbered folders of an archive, as its record and the disk have them.

    A folder is closed when it is gone (it was moved away) or is not in the record (it is somebody's else).

    Args:
        root: of the archive.
        known: what the record says.
        most_bytes: of a folder; a file that is larger has one of its own.
    """

    def __init__(self, root: Path, known: Iterable[ArchivedFile], most_bytes: int) -> None:
        self._root, self._most_bytes = root, most_bytes
        self._known: dict[str, list[ArchivedFile]] = {}
        for file in known:
            self._known.setdefault(file.folder, []).append(file)
        self.moved = {folder for folder, files in self._known.items() if self._is_moved(folder, files)}
        """Those that were filled, in part at least, and are gone."""
        self._last: dict[str, _LastFolder] = {}

    def place(self, day: str, name: str, size_bytes: int) -> str:
        """The path of a new file below the root; `day` is `vehicle/date`, `name` is below the numbered folder."""
        if day not in self._last:
            self._last[day] = self._found(day)
        last = self._last[day]
        if not (last.is_open and self._has_room(last, day, name, size_bytes)):
            last = self._last[day] = _LastFolder(last.number + 1, is_open=True)
        last.take(name, size_bytes)
        return f"{_folder(day, last.number)}/{name}"

    def _found(self, day: str) -> _LastFolder:
        there = self._root / day
        numbers = [int(path.name) for path in (there.iterdir() if there.is_dir() else ()) if path.name.isdecimal()]
        numbers += [int(folder.rpartition("/")[2]) for folder in self._known if folder.rpartition("/")[0] == day]
        last = _LastFolder(max(numbers, default=0))
        folder = _folder(day, last.number)
        last.is_open = folder in self._known and folder not in self.moved
        for file in self._known.get(folder, ()):
            last.take(file.name, file.size_bytes)
        return last

    def _has_room(self, last: _LastFolder, day: str, name: str, size_bytes: int) -> bool:
        taken = name in last.names or os.path.lexists(self._root / _folder(day, last.number) / name)
        return not taken and last.used_bytes + _cost(name, size_bytes) <= self._most_bytes

    def _is_moved(self, folder: str, files: list[ArchivedFile]) -> bool:
        return not (self._root / folder).is_dir() and any(file.sha256 for file in files)


def _folder(day: str, number: int) -> str:
    return f"{day}/{number:03d}"


def _cost(name: str, size_bytes: int) -> int:
    """Bytes that a file takes of its folder, its line of SHA256SUMS included."""
    return size_bytes + _SUM_BYTES + len(name.encode("utf-8", "surrogateescape"))

"""What an archive holds and is about to hold: `archive.jsonl` in its root, a line of JSON a file.

A file's line is there before its bytes, without a checksum, and comes once more with it when the file is whole; the
last line of a path counts. So a run that was killed is gone on with as it was planned, and folders that were moved to
a disk are still known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from video_assets.archive.errors import ArchiveRefused
from video_assets.downloads.errors import InvalidDownload
from video_assets.downloads.layout import check_segments
from video_assets.downloads.part_file import part_file

RECORD = "archive.jsonl"


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One file of an archive.

    Attributes:
        path: below the root, `vehicle/date/number/camera/name`.
        source: URI of the object without an endpoint.
        version: of the object; empty where its URI names the version.
        size_bytes: of the object.
        sha256: in hexadecimal; empty until the file is whole.
    """

    path: str
    source: str
    version: str
    size_bytes: int
    sha256: str = ""

    @property
    def folder(self) -> str:
        """The numbered folder, `vehicle/date/number`."""
        return "/".join(self.path.split("/")[:3])

    @property
    def name(self) -> str:
        """The path below the numbered folder."""
        return "/".join(self.path.split("/")[3:])


class Record:
    """The record of the archive in `root`."""

    def __init__(self, root: Path) -> None:
        self.files: dict[str, ArchivedFile] = {}
        """By path."""
        self._root, self._lock = root, Lock()

    @property
    def path(self) -> Path:
        """The file."""
        return self._root / RECORD

    @classmethod
    def load(cls, root: Path) -> Record:
        """What earlier runs left; empty where there is none.

        Raises:
            ArchiveRefused: a line that no run wrote. What a kill cut off at the end is no such.
        """
        record = cls(root)
        try:
            lines = record.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return record
        for number, line in enumerate(lines, 1):
            # Only what ends with a newline was written to its end.
            if line and number < len(lines):
                file = _parsed(line, f"{record.path}, line {number}")
                record.files[file.path] = file
        return record

    def rewrite(self, files: Iterable[ArchivedFile]) -> None:
        """Puts these in place of what there is, in one step and on the disk before it returns."""
        self.files = {file.path: file for file in files}
        with part_file(self.path, durable=True) as out:
            out.writelines(map(_line, self.files.values()))

    def add(self, file: ArchivedFile) -> None:
        """Notes a file that is whole, on the disk before it returns. Any thread may call it."""
        with self._lock:
            self.files[file.path] = file
            with self.path.open("ab") as out:
                out.write(_line(file))
                out.flush()
                os.fsync(out.fileno())


def _line(file: ArchivedFile) -> bytes:
    return json.dumps(asdict(file)).encode() + b"\n"


def _parsed(line: bytes, item: str) -> ArchivedFile:
    try:
        fields = json.loads(line)
        file = ArchivedFile(**fields)
        if not all(isinstance(text, str) for text in (file.path, file.source, file.version, file.sha256)):
            raise TypeError
        parts = file.path.split("/")
        if not isinstance(file.size_bytes, int) or file.size_bytes < 0 or len(parts) < 4 or not parts[2].isdecimal():
            raise TypeError
        check_segments(file.path, file.source)
    except (ValueError, TypeError, InvalidDownload) as error:
        remedy = "Remove the line; its file is then archived once more."
        raise ArchiveRefused(item, "is no line that an archive writes", remedy) from error
    return file

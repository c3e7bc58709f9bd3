"""Every file of an archive and its place, before anything is written."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from video_assets.archive.errors import ArchiveRefused
from video_assets.archive.folders import Folders
from video_assets.archive.record import ArchivedFile
from video_assets.downloads.errors import InvalidDownload
from video_assets.downloads.layout import NO_CAMERA, check_segments, refuse_way_out
from video_assets.downloads.selection import SelectedFile
from video_assets.keys import without_endpoint
from video_assets.sizes import in_words


@dataclass(frozen=True, slots=True)
class Due:
    """A file to copy."""

    file: SelectedFile
    planned: ArchivedFile


@dataclass
class Plan:
    """What is to be done.

    Attributes:
        due: what is to be copied, in order.
        record: every line that the record is to have.
        here: how many selected files are in the archive already.
        moved: how many are in folders that were moved away.
        failures: files that cannot be archived, with the reason.
    """

    due: list[Due] = field(default_factory=list)
    record: list[ArchivedFile] = field(default_factory=list)
    here: int = 0
    moved: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def due_bytes(self) -> int:
        return sum(due.planned.size_bytes for due in self.due)


def plan(files: Iterable[SelectedFile], root: Path, recorded: Iterable[ArchivedFile], most_bytes: int) -> Plan:
    """The place of every file: where the record has it, else after what its vehicle and date have.

    A file that changed at the source since it was archived is another one, with a place of its own; its old bytes stay.
    """
    ordered = sorted(files, key=_order)
    versions = {without_endpoint(file.uri): file.etag or "" for file in ordered}
    known = [file for file in recorded if file.sha256 or versions.get(file.source, file.version) == file.version]
    folders = Folders(root, known, most_bytes)
    known = [file for file in known if file.sha256 or file.folder not in folders.moved]
    places = {(file.source, file.version): file for file in known}
    made, news = Plan(), []
    for file in ordered:
        planned = places.get((without_endpoint(file.uri), file.etag or ""))
        if planned is None:
            try:
                planned = _placed(file, folders)
            except InvalidDownload as error:
                made.failures.append(str(error))
                continue
            news.append(planned)
        if planned.folder in folders.moved:
            made.moved += 1
        elif _is_whole(planned, root):
            made.here += 1
        else:
            made.due.append(Due(file, planned))
    made.record = known + news
    return made


def check_room(made: Plan, root: Path) -> None:
    """Raises ArchiveRefused where a link leads out of the archive, or its disk has too little space."""
    try:
        refuse_way_out((root / due.planned.path for due in made.due), root)
    except InvalidDownload as error:
        raise ArchiveRefused(error.item, error.cause, error.remedy) from None
    there = next(path for path in (root, *root.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if made.due_bytes > free:
        cause = f"needs {in_words(made.due_bytes)} for {len(made.due)} files, and its disk has {in_words(free)} left"
        raise ArchiveRefused(str(root), cause, "Free space, move filled folders away, or select less.")


def _order(file: SelectedFile) -> tuple[str, ...]:
    """By vehicle, day and start; the cameras of a recording side by side."""
    partition = file.partition
    assert partition is not None
    return str(partition.vehicle), partition.date, file.recording, file.camera or "", file.name, file.uri


def _placed(file: SelectedFile, folders: Folders) -> ArchivedFile:
    assert file.partition is not None
    assert file.object_bytes is not None
    name = f"{file.camera or NO_CAMERA}/{file.name}"
    check_segments(name, file.uri)
    if any(ord(character) < ord(" ") for character in name):
        cause = f"its name {name!r} holds control characters, which would break SHA256SUMS"
        raise InvalidDownload(file.uri, cause, "Rename the object.")
    path = folders.place(f"{file.partition.vehicle}/{file.partition.date}", name, file.object_bytes)
    return ArchivedFile(path, without_endpoint(file.uri), file.etag or "", file.object_bytes)


def _is_whole(planned: ArchivedFile, root: Path) -> bool:
    """Whether the file is there with its size; its bytes were verified when it was written."""
    try:
        return bool(planned.sha256) and (root / planned.path).stat().st_size == planned.size_bytes
    except OSError:
        return False

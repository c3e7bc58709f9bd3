"""Where each file goes. Everything is planned before anything is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from video_assets.downloads.errors import DestinationExists, InvalidDownload
from video_assets.downloads.selection import SelectedFile

Layout = Literal["by_recording", "by_modality", "flat"]

LISTED = 20
"""How many of the files that are in the way are named."""

NO_CAMERA = "no_camera"
_JOIN = "__"
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Write:
    """One file and its place."""

    file: SelectedFile
    path: Path


def plan(
    files: Iterable[SelectedFile], dest: Path, layout: Layout, *, overwrite: bool = False, skip_existing: bool = False
) -> list[Write]:
    """Every write in order.

    Raises:
        InvalidDownload: a name that would leave `dest`, holds `__` in the layout `flat`, or that two sources have.
        DestinationExists: unless `overwrite` or `skip_existing`; naming the first 20.
    """
    writes = [Write(file, dest.joinpath(*_place(file, layout).parts)) for file in files]
    _refuse_two_for_one(writes, dest)
    refuse_way_out((write.path for write in writes), dest)
    taken = [write for write in writes if os.path.lexists(write.path)]
    in_the_way = [write.path for write in taken if not (overwrite or skip_existing) or write.path.is_dir()]
    if in_the_way:
        raise _exists(in_the_way)
    return writes


def _place(file: SelectedFile, layout: Layout) -> PurePosixPath:
    """Below the destination."""
    camera = file.camera or NO_CAMERA
    if layout == "flat":
        for part in (file.recording, camera):
            if _JOIN in part:
                cause = f"its name {part!r} holds {_JOIN!r}, which joins recording and camera in the layout flat"
                raise InvalidDownload(file.uri, cause, "Use the layout by_recording.")
        path = f"{file.recording}{_JOIN}{camera}/{file.name}"
    elif layout == "by_modality":
        path = f"{camera}/{file.recording}/{file.name}"
    elif layout == "by_recording":
        path = f"{file.recording}/{camera}/{file.name}"
    else:
        raise InvalidDownload(f"layout {layout!r}", "is none of by_recording, by_modality, flat")
    check_segments(path, file.uri)
    return PurePosixPath(path)


def check_segments(path: str, uri: str) -> None:
    """Raises InvalidDownload where a path for the object at `uri` would leave its folder on some system."""
    for segment in path.split("/"):
        if segment in ("", ".", "..") or "\0" in segment or "\\" in segment or _DRIVE.match(segment):
            cause = f"would be written to {path!r}, which could lead out of the destination"
            raise InvalidDownload(uri, cause, "Rename the object, or leave it out.")


def _refuse_two_for_one(writes: list[Write], dest: Path) -> None:
    """Two files of one path, and a file where another needs a folder."""
    sources: dict[Path, str] = {}
    for write in writes:
        if write.path in sources:
            both = f"{sources[write.path]} and {write.file.uri}"
            raise InvalidDownload(str(write.path), f"is where two sources would go: {both}", "Select one of them.")
        sources[write.path] = write.file.uri
    for write in writes:
        for folder in write.path.parents:
            if folder == dest:
                break
            if folder in sources:
                both = f"{sources[folder]}, and a folder for {write.file.uri}"
                raise InvalidDownload(str(folder), f"would be a file for {both}", "Select one of them.")


def refuse_way_out(paths: Iterable[Path], dest: Path) -> None:
    """Raises InvalidDownload where a link within the destination leads out of it: it may lead anywhere."""
    root = dest.resolve()
    for folder in dict.fromkeys(path.parent for path in paths):
        if not folder.resolve().is_relative_to(root):
            raise InvalidDownload(str(folder), f"leads out of {dest} by a link", "Remove the link.")


def _exists(paths: list[Path]) -> DestinationExists:
    shown = ", ".join(str(path) for path in paths[:LISTED])
    more = f", and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    files = "1 file" if len(paths) == 1 else f"{len(paths)} files"
    remedy = "Nothing was written. Use overwrite, or skip what exists to go on with a download that stopped."
    return DestinationExists(f"{files} in the way", shown + more, remedy)

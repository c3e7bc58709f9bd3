"""What a path or URI of a setting means on this machine."""

from __future__ import annotations

from pathlib import Path, PurePath
from urllib.parse import unquote


def folder_of(place: str) -> PurePath:
    """The folder that a path or URI means in the end; of a bucket or server, a path that no folder is in.

    An OSS endpoint is a door to a bucket, not part of it.
    """
    scheme, separator, rest = place.partition("://")
    if scheme == "oss":
        rest = rest.partition("/")[2]
    if separator and scheme != "file":
        return PurePath(f"{scheme}:", unquote(rest).strip("/"))
    return Path(unquote(rest or place)).resolve()


def is_missing_folder(place: str) -> bool:
    """Whether a place is on this machine's disk and not there; nothing is known of a bucket."""
    return ("://" not in place or place.startswith("file://")) and not Path(folder_of(place)).exists()


def lies_in(place: str, folder: str) -> bool:
    """Whether a place is a folder or lies below it, links followed."""
    return folder_of(folder) in [folder_of(place), *folder_of(place).parents]

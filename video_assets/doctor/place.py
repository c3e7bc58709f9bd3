"""What kind of place a setting names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit


def local_folder(place: str) -> Path | None:
    """The folder that a path or URI names; None for a bucket or server."""
    parts = urlsplit(place)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None if parts.scheme else Path(place)


def is_folder(place: str) -> bool:
    """Whether a path or URI names a folder of this machine."""
    return local_folder(place) is not None

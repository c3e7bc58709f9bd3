"""Checks of the vector index."""

from __future__ import annotations

from video_assets.doctor.finding import Finding
from video_assets.doctor.place import local_folder
from video_assets.folder_probe import require_writable
from video_assets.settings import Settings
from video_assets.vectors.index_errors import IndexBusyError


def index_finding(settings: Settings) -> Finding:
    """Whether the index answers, and what it holds."""
    folder = local_folder(settings.index)
    if folder is not None:
        require_writable(folder)
    try:
        points = points_of_index(settings)
    except IndexBusyError as error:
        # Somebody works with it, so that it cannot be broken.
        return Finding("index", "warning", f"{settings.index}: {error.item}: {error.cause}", error.remedy)
    text = ", ".join(f"{name}: {count} points" for name, count in points.items()) or "empty so far"
    return Finding("index", "ok", f"{settings.index}: {text}")


def points_of_index(settings: Settings) -> dict[str, int]:
    """How many points each collection of the index holds."""
    from video_assets.search.query import open_index

    with open_index(settings) as index:
        return {name: index.count(name) for name in index.collections()}

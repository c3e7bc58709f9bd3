"""Fleet video to searchable, trustworthy frames: a Dagster project."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from video_assets.downloads.download import download as download
    from video_assets.downloads.selection import Selection as Selection

__version__ = "0.1.0"
__all__ = ["Selection", "__version__", "download"]


def __getattr__(name: str) -> Any:
    """`download` and `Selection`, which bring the tables and stores with them, when they are asked for."""
    if name == "download":
        from video_assets.downloads.download import download

        return download
    if name == "Selection":
        from video_assets.downloads.selection import Selection

        return Selection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

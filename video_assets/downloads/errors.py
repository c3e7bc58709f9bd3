"""Why a download did not begin or did not end, as the built-in errors that callers expect."""

from __future__ import annotations

from video_assets.errors import VideoAssetsError


class InvalidDownload(VideoAssetsError, ValueError):
    """A selection, a name or a pair of sources that cannot be laid out; nothing was written."""


class NothingSelected(VideoAssetsError, FileNotFoundError):
    """A selection or a prefix that has no file; nothing was written."""

    def __init__(self, item: str, cause: str, remedy: str = "") -> None:
        _told(self, item, cause, remedy)


class DestinationExists(VideoAssetsError, FileExistsError):
    """Files that would be written are there already; nothing was written."""

    def __init__(self, item: str, cause: str, remedy: str = "") -> None:
        _told(self, item, cause, remedy)


def _told(error: VideoAssetsError, item: str, cause: str, remedy: str) -> None:
    """OSError would take three arguments for a number, a text and a file name."""
    Exception.__init__(error, item, cause, remedy)
    error.item, error.cause, error.remedy = item, cause, remedy


class DownloadFailed(VideoAssetsError):
    """Some files could not be fetched. The others are there, whole."""

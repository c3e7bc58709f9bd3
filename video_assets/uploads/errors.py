"""What can go wrong between a folder and a store, by what is to be done about it."""

from __future__ import annotations

from video_assets.errors import VideoAssetsError


class UploadError(VideoAssetsError):
    """One file cannot be uploaded as it is; it is tried again later, and others go on."""


class FileChanged(UploadError):
    """The file is not, or no longer, what was being uploaded."""


class InvalidWatch(VideoAssetsError):
    """A watch that cannot be begun as it was asked for."""


class SourceAway(VideoAssetsError):
    """The watched folder is not there: its disk was unplugged, or not mounted yet."""


class CheckpointAway(VideoAssetsError):
    """The checkpoint cannot be read or written."""


class Stopped(Exception):
    """The watcher was told to end; what was sent is kept."""

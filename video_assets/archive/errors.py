"""Why an archive did not begin or did not end."""

from __future__ import annotations

from video_assets.errors import VideoAssetsError


class ArchiveRefused(VideoAssetsError):
    """The archive cannot be made there; nothing was written."""


class ArchiveFailed(VideoAssetsError):
    """Some files could not be archived. The others are there, whole."""


class FileDamaged(VideoAssetsError):
    """What was read is not what the tables say of the file."""

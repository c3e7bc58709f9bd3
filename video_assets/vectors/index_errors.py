"""What can go wrong with the vector index, each with its way out."""

from __future__ import annotations

from video_assets.errors import VideoAssetsError


class VectorIndexError(VideoAssetsError):
    """Base of the index's errors. The index can always be rebuilt from the embeddings table."""


class InvalidInputError(VectorIndexError):
    """A point, a query, a filter or a collection name that no index can hold or answer."""


class CollectionMissingError(VectorIndexError):
    """The collection asked for does not exist (yet)."""


class CollectionMismatchError(VectorIndexError):
    """The collection exists with another dimension or distance, or a vector does not fit it."""


class IndexBusyError(VectorIndexError):
    """Another process held the embedded index for longer than the wait allowed."""


class IndexCorruptError(VectorIndexError):
    """The engine cannot open what is on disk: damaged, or written by another version."""


class IndexUnwritableError(VectorIndexError):
    """The location cannot be created, read or written."""


class IndexUnreachableError(VectorIndexError):
    """No usable answer from the server, after retries."""


class IndexDeniedError(VectorIndexError):
    """The server refused the API key."""


class IndexLocationError(VectorIndexError):
    """No index can be at such a location, or the package that its kind needs is not installed."""


class PointsNotLoadedError(VectorIndexError):
    """A loader did not deliver points that it was asked for."""

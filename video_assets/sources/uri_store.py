"""Objects of any store by their whole URIs, as a list of videos names them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from video_assets.storage.object_store import ObjectInfo, ObjectStore
from video_assets.storage.registry import open_store, split_uri
from video_assets.storage.stream_keys import split_stream_key


@dataclass(frozen=True)
class UriStore:
    """A key is a URI. What lies below `source` is asked of that, which knows a missing folder from a missing disk."""

    uri: str
    source: ObjectStore | None = None

    def uri_of(self, key: str) -> str:
        """The URI itself."""
        return key

    def key_of(self, uri: str) -> str | None:
        """The URI itself: none is of another source."""
        return uri

    def head(self, key: str) -> ObjectInfo:
        """The object as it is now; raises InvalidUri, ObjectNotFound."""
        # A video in chunks is an object of a store of its own.
        name = self.source.key_of(key) if self.source is not None and split_stream_key(key) is None else None
        if self.source is not None and name is not None:
            info = self.source.head(name)
        else:
            root, name = split_uri(key)
            info = _store(root).head(name)
        return ObjectInfo(key, info.size_bytes, info.etag, info.last_modified)


@lru_cache(maxsize=256)
def _store(root: str) -> ObjectStore:
    return open_store(root)

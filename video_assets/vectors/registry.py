"""From a location to a vector index."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from video_assets.vectors.index_errors import IndexLocationError
from video_assets.vectors.vector_index import VectorIndex


def open_vector_index(location: str, *, api_key: SecretStr | None = None) -> VectorIndex:
    """The index at `location`; nothing is opened, created or connected to before it is used.

    Args:
        location: absolute path or `file://` URI of a directory (embedded), or an `http(s)://` URL of
            a Qdrant server (port 6333 where the URL has none).
        api_key: sent to a server; an embedded index has no use for it.

    Raises:
        IndexLocationError: a location of neither kind, or the server's client is not installed.
    """
    parts = urlsplit(location)
    if parts.scheme in ("http", "https"):
        return _open_server(location, api_key)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise IndexLocationError(location, "a file URI names a path of this machine", "Use file:///path.")
        directory = Path(unquote(parts.path))
    else:
        directory = Path(location)
    if not directory.is_absolute() or "\0" in str(directory):
        raise IndexLocationError(
            location,
            "not a vector index location",
            "Give an absolute path, file:///path, or http(s)://host:port.",
        )
    from video_assets.vectors.embedded_index import EmbeddedIndex

    return EmbeddedIndex(directory)


def _open_server(url: str, api_key: SecretStr | None) -> VectorIndex:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        # Shown without what stands before the @: it may be a secret.
        raise IndexLocationError(
            f"{parts.scheme}://…@{parts.hostname}",
            "a URL must not carry credentials",
            "Put the key into the API key setting.",
        )
    if not parts.hostname:
        raise IndexLocationError(url, "the URL names no host", "Give http(s)://host:port.")
    if find_spec("qdrant_client") is None:
        raise IndexLocationError(url, "qdrant-client is not installed", "Run: pip install 'video-assets[qdrant]'")
    from video_assets.vectors.server_index import ServerIndex

    return ServerIndex(url, api_key)

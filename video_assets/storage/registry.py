"""From a URI to a store, by scheme. A cloud's modules are imported with the first URI of that cloud: a command that
reads files starts twice as fast without them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from video_assets.storage.local_files import file_uri
from video_assets.storage.local_store import LocalStore
from video_assets.storage.object_store import InvalidUri, ObjectStore
from video_assets.storage.stream_keys import is_metadata_uri, split_stream_key

if TYPE_CHECKING:
    from video_assets.storage.bucket_probe import BucketProbe


def open_store(uri: str, *, create: bool = False) -> ObjectStore:
    """The store at a URI: `file:///data/videos`, an absolute path (`~` too), `s3://bucket/prefix` or
    `oss://endpoint/bucket/prefix`; or the metadata.json of a stream of chunks, a store of one video (`chunked_store`).
    A bucket is not asked before the store's first use.

    Args:
        uri: the store's root.
        create: make the folder of a `file://` store where it is missing. Without it nothing is created.

    Raises:
        InvalidUri: no store this version can open.
        StoreUnavailable: the folder does not exist, is no folder, or is not permitted.
    """
    if is_metadata_uri(uri):
        return _open_stream(uri)
    return _OPENERS[_scheme(uri)](uri, create)


def check_uri(uri: str) -> None:
    """Raises `InvalidUri` where `open_store` would; whether the store is there is not looked at."""
    if _scheme(uri) == "file":
        _file_path(uri)
    else:
        open_store(uri)  # a bucket is asked nothing by that


def split_uri(uri: str) -> tuple[str, str]:
    """Splits the URI of one object into the URI of a store and the key in it.

    A file's store is the folder it lies in: `file:///data/a/b.mp4` gives `("file:///data/a", "b.mp4")`. An object's
    is its bucket: `oss://endpoint/bucket/a/b.mp4` gives `("oss://endpoint/bucket", "a/b.mp4")`. A video's that was
    uploaded in chunks is its stream's metadata.json.

    Raises:
        InvalidUri: no object this version can open.
    """
    if split_stream_key(uri) is not None:
        return _split_stream(uri)
    return _SPLITTERS[_scheme(uri)](uri)


def normal_uri(uri: str) -> str:
    """The URI of one object as its store writes it, so that each object has one. Nothing is asked of the store.

    Raises:
        InvalidUri: no object this version can open.
    """
    root, key = split_uri(uri)
    return file_uri(os.fsencode(_file_path(uri))) if root.startswith("file:") else open_store(root).uri_of(key)


def shown_uri(uri: str) -> str:
    """The URI without what may be secret: user and password, and the query (of a presigned URL)."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def probe_bucket(uri: str) -> BucketProbe | None:
    """What one request to the bucket tells, for people; None where the URI names no bucket.

    Raises:
        StoreError: nothing could be asked: the URI or what is configured for it is wrong.
    """
    probe = _PROBES.get(_scheme(uri))
    return None if probe is None else probe(uri)


def _open_file(uri: str, create: bool) -> ObjectStore:
    return LocalStore(_file_path(uri), create=create)


def _split_file(uri: str) -> tuple[str, str]:
    if uri.endswith("/"):
        raise InvalidUri(shown_uri(uri), "names a folder, not a file", "Name one file, or open the folder as a store.")
    path = _file_path(uri)
    _refuse_disk_root(path.parent, uri)
    return file_uri(os.fsencode(path.parent)), os.fsencode(path.name).decode("utf-8", "surrogateescape")


def _open_stream(uri: str) -> ObjectStore:
    from video_assets.storage.chunked_store import ChunkedStore

    # The folder above the stream's: that of a stream which is gone is an object that is gone, not a disk.
    folder, stream_id, name = uri.rsplit("/", 2)
    return ChunkedStore(open_store(folder), f"{stream_id}/{name}")


def _split_stream(uri: str) -> tuple[str, str]:
    if _scheme(uri) == "file":
        path = os.fsencode(_file_path(uri)).decode("utf-8", "surrogateescape")
        metadata, name = _stream_of(path)
        return file_uri(metadata.encode("utf-8", "surrogateescape")), name
    root, key = _SPLITTERS[_scheme(uri)](uri)
    metadata, name = _stream_of(key)
    return open_store(root).uri_of(metadata), name


def _stream_of(key: str) -> tuple[str, str]:
    found = split_stream_key(key)
    assert found is not None
    return found


def _split_s3(uri: str) -> tuple[str, str]:
    from video_assets.storage.s3_uri import split_object_uri

    return split_object_uri(uri)


def _split_oss(uri: str) -> tuple[str, str]:
    from video_assets.storage.oss_uri import parse_oss_uri

    place = parse_oss_uri(uri, shown_uri(uri))
    if not place.path:
        raise InvalidUri(shown_uri(uri), "names a bucket, not an object", "Add the object's key.")
    return place.bucket_uri, place.path


def _scheme(uri: str) -> str:
    """The scheme of a URI that some store answers to; `file` for a plain path."""
    scheme, colon, _ = uri.partition(":")
    if not colon or "/" in scheme:
        return "file"
    scheme = scheme.lower()
    if scheme in _OPENERS:
        return scheme
    known = ", ".join(f"{name}://" for name in _OPENERS)
    raise InvalidUri(shown_uri(uri), f"has the unknown scheme {scheme!r}", f"Use one of {known}, or an absolute path.")


def _open_s3(uri: str, create: bool) -> ObjectStore:
    from video_assets.storage.s3 import S3Store
    from video_assets.storage.s3_clients import check_installed
    from video_assets.storage.s3_uri import parse_store_uri

    bucket, prefix = parse_store_uri(uri)
    check_installed(shown_uri(uri))
    return S3Store(bucket, prefix)


def _open_oss(uri: str, create: bool) -> ObjectStore:
    from video_assets.storage.oss import OssStore
    from video_assets.storage.oss_uri import check_prefix, parse_oss_uri

    return OssStore(check_prefix(parse_oss_uri(uri, shown_uri(uri)), shown_uri(uri)))


def _probe_s3(uri: str) -> BucketProbe:
    from video_assets.storage.s3_probe import probe_s3

    return probe_s3(uri)


def _probe_oss(uri: str) -> BucketProbe:
    from video_assets.storage.oss_probe import probe_oss

    return probe_oss(uri)


def _file_path(uri: str) -> Path:
    """The absolute path that a file URI (RFC 8089) or a plain path names, links unresolved.

    Raises:
        InvalidUri: another host, a relative path, `..`, a query or fragment, NUL, or the root of the file system.
    """
    path = _path_of_file_uri(uri) if uri[:5].lower() == "file:" else _expand_home(uri)
    if not path.is_absolute():
        meant = f"Write it in full, perhaps {path.absolute().as_uri()}."
        raise InvalidUri(shown_uri(uri), "is a relative path", meant)
    if ".." in path.parts:
        raise InvalidUri(shown_uri(uri), "holds '..'", "Write the path without it.")
    if "\0" in str(path):
        raise InvalidUri(shown_uri(uri), "holds a NUL character", "Correct the path.")
    _refuse_disk_root(path, uri)
    # POSIX keeps two leading slashes apart from one; no system this runs on does.
    return Path("/", *path.parts[1:])


def _path_of_file_uri(uri: str) -> Path:
    rest = uri[5:]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise InvalidUri(
                shown_uri(uri),
                f"names the host '{host.rpartition('@')[2]}'",
                "A file URI has three slashes and an absolute path: file:///data/videos.",
            )
        rest = slash + path
    if "?" in rest or "#" in rest:
        raise InvalidUri(shown_uri(uri), "holds '?' or '#'", "Write them as %3F and %23.")
    return Path(os.fsdecode(unquote_to_bytes(rest)))


def _expand_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidUri(path, "names a home folder that is not known", "Write the path in full.") from error


def _refuse_disk_root(path: Path, uri: str) -> None:
    if path == Path(path.anchor):
        raise InvalidUri(shown_uri(uri), "would make the whole file system a store", "Use a folder below it.")


_OPENERS: dict[str, Callable[[str, bool], ObjectStore]] = {"file": _open_file, "s3": _open_s3, "oss": _open_oss}
"""How each scheme opens a store, from its URI and whether to make its folder."""

_SPLITTERS: dict[str, Callable[[str], tuple[str, str]]] = {
    "file": _split_file,
    "s3": _split_s3,
    "oss": _split_oss,
}
"""How each scheme splits the URI of an object into that of a store and a key."""

_PROBES: dict[str, Callable[[str], BucketProbe]] = {"s3": _probe_s3, "oss": _probe_oss}
"""How each scheme of buckets is asked once."""

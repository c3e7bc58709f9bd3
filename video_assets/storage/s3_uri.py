"""`s3://bucket/prefix` and `s3://bucket/key`: parsed and built here only."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from video_assets.storage.object_keys import printable_key, segment_fault
from video_assets.storage.object_store import InvalidKey, InvalidUri

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def parse_store_uri(uri: str) -> tuple[str, str]:
    """Bucket and prefix of a store; the prefix is empty or ends with `/`.

    Raises:
        InvalidUri: credentials, a query, no proper bucket name, or a prefix that no key could lie below.
    """
    bucket, path = _parse(uri)
    prefix = path.strip("/")
    if prefix and (fault := segment_fault(prefix)):
        raise InvalidUri(shown(uri), f"its prefix {fault}", "Write s3://bucket/prefix.")
    return bucket, prefix + "/" if prefix else ""


def split_object_uri(uri: str) -> tuple[str, str]:
    """The URI of an object's bucket, and its key there.

    Raises:
        InvalidUri: as for `parse_store_uri`, or there is no key.
    """
    bucket, key = _parse(uri)
    if not key or key.endswith("/"):
        raise InvalidUri(shown(uri), "names a folder, not an object", "Name one object: s3://bucket/key.")
    if fault := segment_fault(key):
        raise InvalidUri(shown(uri), f"its key {fault}", "Give the object another name.")
    return f"s3://{bucket}", key


def object_uri(bucket: str, key: str) -> str:
    """The URI of a key, pure ASCII; what may stand in a path as it is (RFC 3986) does.

    Raises:
        InvalidKey: the key is not Unicode, which every key of a bucket is.
    """
    try:
        return f"s3://{bucket}/" + quote(key, safe="/=:@+,~!$&'()*;")
    except UnicodeEncodeError as error:
        raise InvalidKey(f"key '{printable_key(key)}'", "is not valid Unicode") from error


def shown(uri: str) -> str:
    """The URI without what may be secret: user and password, and a query."""
    host, slash, path = uri.partition("://")[2].partition("?")[0].partition("/")
    return f"s3://{host.rpartition('@')[2]}{slash}{path}"


def _parse(uri: str) -> tuple[str, str]:
    bucket, _, path = uri.partition("://")[2].partition("/")
    if "@" in bucket:
        raise InvalidUri(
            shown(uri),
            "must not carry credentials",
            "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the environment.",
        )
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise InvalidUri(
            shown(uri),
            "does not begin with a bucket's name (3 to 63 of a-z 0-9 . -)",
            "Write s3://bucket/prefix; the endpoint of a compatible store goes into AWS_ENDPOINT_URL_S3.",
        )
    if bucket.endswith("--x-s3"):
        raise InvalidUri(
            shown(uri),
            "is a directory bucket (S3 Express), which lists its keys in no order",
            "Use a general purpose bucket.",
        )
    if "?" in path or "#" in path:
        raise InvalidUri(shown(uri), "holds '?' or '#'", "Write them as %3F and %23.")
    return bucket, unquote(path)

"""Partition keys, table paths and ids: the only code that builds or parses any of them.

Object keys of uploads are parsed by `path_template`; everything else that names a thing is here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date
from urllib.parse import unquote

from video_assets.errors import VideoAssetsError

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a vehicle or camera id may be. `|` would make a partition key vanish; `/` and `..` would escape paths."""

_DATE_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class InvalidId(VideoAssetsError):
    """A partition key, path or id from outside that is not one of ours."""


def check_id(kind: str, value: str) -> str:
    """Returns `value` if it may be a vehicle or camera id.

    Raises:
        InvalidId: for anything that could escape a path or break a partition key.
    """
    if not ID_PATTERN.fullmatch(value) or ".." in value:
        raise InvalidId(
            f"{kind} id {value!r}",
            "is not 1 to 64 of the characters A-Z a-z 0-9 _ . - beginning with a letter or digit, without '..'",
            f"Rename the {kind}, or set VIDEO_ASSETS_PATH_TEMPLATE so that another part of the path names it.",
        )
    return value


def check_date(value: str) -> str:
    """Returns `value` if it is a calendar date `YYYY-MM-DD`; else raises InvalidId."""
    try:
        if _DATE_PATTERN.fullmatch(value):
            return Date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise InvalidId(f"date {value!r}", "is not a calendar date", "Write it as YYYY-MM-DD.")


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One fleet-local day of one vehicle; of the whole fleet where `vehicle` is None."""

    date: str
    vehicle: str | None = None

    def __post_init__(self) -> None:
        check_date(self.date)
        if self.vehicle is not None:
            check_id("vehicle", self.vehicle)

    @property
    def key(self) -> str:
        """The Dagster partition key: `2026-01-03|veh-7`, or `2026-01-03` for the fleet's day."""
        return self.date if self.vehicle is None else f"{self.date}|{self.vehicle}"

    @property
    def path(self) -> str:
        """The hive-style path: `date=2026-01-03/vehicle=veh-7`."""
        return f"date={self.date}" if self.vehicle is None else f"date={self.date}/vehicle={self.vehicle}"

    @classmethod
    def from_key(cls, key: str) -> Partition:
        """Parses a Dagster partition key; raises InvalidId."""
        date, bar, vehicle = key.partition("|")
        return cls(date, vehicle if bar else None)

    @classmethod
    def from_path(cls, path: str) -> Partition:
        """Parses a hive-style path; raises InvalidId."""
        match = re.fullmatch(r"date=([^/]+)(?:/vehicle=([^/]+))?", path)
        if match is None:
            raise InvalidId(f"path {path!r}", "is not date=YYYY-MM-DD or date=YYYY-MM-DD/vehicle=ID")
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return self.key


def partition_root(table: str, partition: Partition | None) -> str:
    """Where a table's partition lives: `clips/date=2026-01-03/vehicle=veh-7/`; the table's root for None."""
    return f"{table}/{partition.path}/" if partition else f"{table}/"


def data_key(table: str, partition: Partition | None) -> str:
    """The object that is the committed table of a partition."""
    return partition_root(table, partition) + "data.parquet"


def removed_key(table: str, partition: Partition) -> str:
    """The object that remembers what a partition's table gave up because it was deleted at the source."""
    return partition_root(table, partition) + "removed.json"


def items_prefix(table: str, partition: Partition) -> str:
    """Where the item records and attempt markers of a partition live."""
    return partition_root(table, partition) + "items/"


def blobs_prefix(table: str, partition: Partition) -> str:
    """Where the blobs of a partition live."""
    return partition_root(table, partition) + "blobs/"


def blob_key(table: str, partition: Partition, item_id: str, suffix: str) -> str:
    """The deterministic key of a blob that an item publishes; `suffix` begins with a dot or a slash."""
    return blobs_prefix(table, partition) + item_id + suffix


def fleet_bag_key(table: str, partition: Partition, camera: str, start_s: int, end_s: int) -> str:
    """The key of the bag of a fleet's window, in epoch seconds: `…/blobs/front/20260105T083000Z_30s.bag`."""
    start = datetime.fromtimestamp(start_s, UTC)
    return f"{blobs_prefix(table, partition)}{camera}/{start:%Y%m%dT%H%M%SZ}_{end_s - start_s}s.bag"


def fleet_bag_window(table: str, partition: Partition, key: str) -> tuple[str, int, int] | None:
    """Camera, start and end of the window whose bag has this key; None where it is no key of `fleet_bag_key`."""
    match = re.fullmatch(
        r"([^/]+)/([0-9]{8}T[0-9]{6}Z)_([0-9]{1,6})s\.bag", key.removeprefix(blobs_prefix(table, partition))
    )
    try:
        if match is None or check_id("camera", match[1]) != match[1]:
            return None
        start = datetime.strptime(match[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except (InvalidId, ValueError):
        return None
    window = match[1], int(start.timestamp()), int(start.timestamp()) + int(match[3])
    return window if fleet_bag_key(table, partition, *window) == key else None


UPLOADS_SEEN = "uploads_seen/"
"""Where the upload sensor's memory lies, a file for each state that a cursor may name."""


def uploads_seen_key(name: str) -> str:
    """One state of the upload sensor's memory."""
    return f"{UPLOADS_SEEN}{name}.parquet"


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """What names a source object whatever endpoint it is read through."""

    scheme: str
    bucket: str
    key: str

    @classmethod
    def of(cls, video_path: str) -> SourceIdentity:
        """Parses a `video_path`: `file:///…`, `s3://bucket/key` or `oss://endpoint/bucket/key`; raises InvalidId."""
        scheme, _, rest = video_path.partition("://")
        host, _, path = rest.partition("/")
        if scheme == "file" and not host and path:
            return cls("file", "", "/" + unquote(path, errors="surrogateescape"))
        if scheme == "s3" and host and path:
            return cls("s3", host, unquote(path))
        bucket, _, key = path.partition("/")
        if scheme == "oss" and host and bucket and key:
            return cls("oss", bucket, key)
        raise InvalidId(f"video_path {video_path!r}", "is not file:///…, s3://bucket/key or oss://endpoint/bucket/key")


def without_endpoint(uri: str) -> str:
    """The URI without what only says how to get there: of `oss://endpoint/bucket/key`, `oss://bucket/key`."""
    scheme, _, rest = uri.partition("://")
    return f"oss://{rest.partition('/')[2]}" if scheme == "oss" else uri


def through_endpoint_of(place: str, uri: str) -> str:
    """The URI through the OSS endpoint of `place`, where both are of one bucket; else the URI as it is."""
    start, bucket = _endpoint_and_bucket(place)
    _, own = _endpoint_and_bucket(uri)
    return f"{start}/{without_endpoint(uri).removeprefix('oss://')}" if bucket and bucket == own else uri


def _endpoint_and_bucket(uri: str) -> tuple[str, str]:
    """`oss://endpoint` and the bucket; empty for other schemes."""
    scheme, _, rest = uri.partition("://")
    endpoint, _, path = rest.partition("/")
    return (f"oss://{endpoint}", path.partition("/")[0]) if scheme == "oss" else ("", "")


def content_id(*parts: str | Mapping[str, str]) -> str:
    """An id of 32 hexadecimal digits that is a function of its parts and nothing else.

    Lengths go into the hash, so that no two lists of parts collide by concatenation.
    """
    digest = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, str) else "\n".join(f"{k}={v!r}" for k, v in sorted(part.items()))
        data = text.encode("utf-8", "surrogateescape")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]


def clip_id(video_path: str, etag: str, parameters: Mapping[str, str], code_version: str) -> str:
    """The id of the clip that a version of a source video becomes; of a window, see `window_id` (SPEC S2)."""
    source = SourceIdentity.of(video_path)
    return content_id("clip", source.scheme, source.bucket, source.key, etag, parameters, code_version)


def window_id(item_id: str, window: int) -> str:
    """The clip id of a window: its item's id and its number. Sorts in order of time."""
    return f"{item_id}_{window:06d}"


def image_id(item_id: str, frame_idx: int) -> str:
    """The id of a frame: its item's id and its number among the item's frames. Sorts in order of time."""
    return f"{item_id}_{frame_idx:06d}"

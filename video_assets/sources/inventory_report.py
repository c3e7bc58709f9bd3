"""One report of a bucket inventory: which is the newest, and whether it is whole.

Formats: "Locating your inventory list" and "Amazon S3 Inventory list" in the Amazon S3 User Guide
(storage-inventory-location, storage-inventory); "Bucket inventory" in the user guide of Alibaba OSS (bucket-inventory).
Both write `<prefix>/<source bucket>/<rule>/YYYY-MM-DDTHH-MMZ/manifest.json` with a `manifest.checksum` (its MD5)
beside it, which comes last. The manifest names the files, by their whole keys in the same bucket, with size and MD5.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from video_assets.storage.object_store import CommonPrefix, ObjectNotFound, ObjectStore, StoreUnavailable
from video_assets.storage.registry import open_store, split_uri

_SETTING = "VIDEO_ASSETS_INVENTORY"
_FOLDER = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}Z")
_NEEDED = {
    "size": "Size",
    "last_modified_date": "LastModifiedDate",
    "e_tag": "ETag",
}


class InventoryError(StoreUnavailable):
    """An inventory report that cannot stand in for a listing."""


@dataclass(frozen=True, slots=True)
class ReportFile:
    """One file of a report: its key in the report's bucket, and its MD5 in lower case."""

    key: str
    md5: str


@dataclass(frozen=True, slots=True)
class InventoryReport:
    """A report as its manifest tells it. `columns` are the fields in the files' order, named as Parquet names them."""

    uri: str
    bucket: str
    begun_at: datetime
    file_format: str
    columns: tuple[str, ...]
    files: tuple[ReportFile, ...]
    digest: str
    """MD5 of the manifest: it names the report."""


def newest_report(uri: str) -> tuple[InventoryReport, ObjectStore]:
    """The report whose manifest.json a URI names, or the newest whole one of a folder of reports; and its bucket.

    Raises:
        InventoryError: there is none, it is damaged or incomplete, or of a form or with fields that cannot be used.
    """
    place = uri if uri.endswith("/manifest.json") else uri.rstrip("/") + "/manifest.json"
    bucket_uri, key = split_uri(place)
    store = open_store(bucket_uri)
    if place != uri:
        key = _newest_manifest(store, key.removesuffix("manifest.json"), uri)
    return _read(store, key, store.uri_of(key)), store


def _newest_manifest(store: ObjectStore, folder: str, uri: str) -> str:
    names = [
        entry.prefix
        for entry in store.list_level(folder)
        if isinstance(entry, CommonPrefix) and _FOLDER.fullmatch(entry.prefix[len(folder) : -1])
    ]
    for name in reversed(names):
        try:
            store.head(f"{name}manifest.checksum")
        except ObjectNotFound:
            continue  # It is being written: the checksum comes last.
        return f"{name}manifest.json"
    raise InventoryError(
        uri,
        "holds no whole report: no folder YYYY-MM-DDTHH-MMZ with manifest.json and manifest.checksum",
        f"Set {_SETTING} to <prefix>/<source bucket>/<name of the rule>/. The first report takes up to two days.",
    )


def _read(store: ObjectStore, key: str, item: str) -> InventoryReport:
    try:
        text = store.get(key)
        checksum = store.get(key.removesuffix("manifest.json") + "manifest.checksum")
    except ObjectNotFound as error:
        remedy = f"Set {_SETTING} to the manifest.json of a report, or to the folder of its rule."
        raise InventoryError(error.item, "does not exist", remedy) from None
    digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
    if checksum.decode("ascii", "replace").strip().strip('"').lower() != digest:
        raise InventoryError(
            item, "is not what manifest.checksum says: it is damaged or half written", "Take the report before it."
        )
    try:
        return _parsed(json.loads(text), item, digest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        cause = f"is no manifest of an inventory ({type(error).__name__}: {error})"
        raise InventoryError(item, cause, f"Set {_SETTING} to one of S3 Inventory or OSS bucket inventory.") from None


def _parsed(manifest: dict[str, Any], item: str, digest: str) -> InventoryReport:
    file_format = str(manifest["fileFormat"]).upper()
    if file_format not in ("CSV", "PARQUET"):
        raise InventoryError(
            item, f"is of the format {manifest['fileFormat']}", "Set the inventory's output format to Parquet or CSV."
        )
    columns = _columns(str(manifest["fileSchema"]))
    if missing := [name for column, name in _NEEDED.items() if column not in columns]:
        cause = f"has no field {', '.join(missing)}"
        raise InventoryError(item, cause, "Add them to the inventory's optional fields; the next report has them.")
    stamp = int(manifest["creationTimestamp"])
    # S3 counts milliseconds, OSS seconds.
    begun_at = datetime.fromtimestamp(stamp / 1000 if stamp > 10**11 else stamp, UTC)
    files = tuple(ReportFile(str(f["key"]), str(f["MD5checksum"]).lower()) for f in manifest["files"])
    return InventoryReport(item, str(manifest["sourceBucket"]), begun_at, file_format, columns, files, digest)


def _columns(schema: str) -> tuple[str, ...]:
    """The fields: of CSV `Bucket, Key, IsLatest, …`, of Parquet `message s3.inventory { required binary key …; }`."""
    if schema.lstrip().startswith("message"):
        fields = schema.partition("{")[2].rpartition("}")[0].split(";")
        return tuple(field.split()[2] for field in fields if field.strip())
    return tuple(
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip()).lower().replace("etag", "e_tag")
        for name in schema.split(",")
    )

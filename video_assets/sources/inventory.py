"""A bucket inventory in place of a listing: S3 Inventory (CSV, Parquet) and OSS bucket inventory (CSV).

A report is a state of hours or days ago, in no order, maybe with old versions and delete markers. It is verified (MD5
of the manifest and of each file), sorted on the disk, and every object is looked at again when its partition is read.
What was uploaded since the report is found by the next one.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import IO, Any
from urllib.parse import unquote, unquote_plus, urlsplit

from video_assets.path_template import KeyFields, PathTemplate
from video_assets.sources.inventory_report import InventoryError, InventoryReport, ReportFile, newest_report
from video_assets.sources.parallel_listing import PIECE_KEYS, Report
from video_assets.sources.source_objects import Fault, Remarks
from video_assets.sources.spool import Spool
from video_assets.storage.object_keys import is_hidden, printable_key
from video_assets.storage.object_store import ObjectInfo, ObjectNotFound, ObjectStore

_BATCH_ROWS = 10_000
_Row = dict[str, Any]


@dataclass
class Inventory:
    """The objects of a source as the newest report of an inventory has them.

    Args:
        store: the source; its bucket must be the report's.
        uri: of a report's manifest.json, or of the folder of an inventory's reports.
    """

    store: ObjectStore
    uri: str
    kind: str = "inventory"
    _found: tuple[InventoryReport, ObjectStore] | None = None

    def state(self) -> str:
        """The report's own checksum."""
        return self._newest()[0].digest

    def everything(self, remarks: Remarks, report: Report | None = None) -> Iterator[ObjectInfo]:
        inventory, bucket = self._newest()
        prefix = self._prefix(inventory)
        with Spool() as spool:
            for file in inventory.files:
                with _verified(bucket, file) as data:
                    self._sort_in(_rows(data, inventory), inventory, prefix, spool, remarks)
            count = 0
            for key, versions in groupby(spool.sorted(), key=itemgetter(0)):
                info = _newest_of(key, [value for _, value in versions])
                count += 1
                yield info
                if report is not None and count % PIECE_KEYS == 0:
                    report(count, info.key)
        age_h = (datetime.now(UTC) - inventory.begun_at).total_seconds() / 3600
        remarks.told.append(
            f"inventory of {inventory.begun_at:%Y-%m-%d %H:%M} UTC, {age_h:.0f} h old, {count} objects below "
            f"{self.store.uri}; what came later is in the next report"
        )

    def fields(self, info: ObjectInfo, template: PathTemplate) -> KeyFields:
        return template.match(info.key, info.last_modified)

    def _newest(self) -> tuple[InventoryReport, ObjectStore]:
        if self._found is None:
            self._found = newest_report(self.uri)
        return self._found

    def _prefix(self, inventory: InventoryReport) -> str:
        """The source's root in its bucket.

        Raises:
            InventoryError: the source is no bucket, or another.
        """
        parts = urlsplit(self.store.uri)
        bucket, _, path = (parts.netloc + parts.path if parts.scheme == "s3" else parts.path[1:]).partition("/")
        if parts.scheme not in ("s3", "oss") or bucket != inventory.bucket:
            raise InventoryError(
                inventory.uri,
                f"is of the bucket {inventory.bucket}, and the source is {self.store.uri}",
                "Set VIDEO_ASSETS_SOURCE to that bucket, or VIDEO_ASSETS_INVENTORY to the source's inventory.",
            )
        return unquote(path) + "/" if path else ""

    def _sort_in(
        self, rows: Iterable[_Row], inventory: InventoryReport, prefix: str, spool: Spool, remarks: Remarks
    ) -> None:
        """Takes the rows of objects below the source's root that are there and current."""
        for row in rows:
            key = self._key(row["key"], inventory)
            if not key.startswith(prefix) or is_hidden(key[len(prefix) :].partition("/")[0]) or key == prefix:
                continue
            for reason, is_so in (
                ("old_version", _flag(row, "is_latest") is False),
                ("delete_marker", _flag(row, "is_delete_marker") is True),
            ):
                if is_so:
                    remarks.skipped[reason] = remarks.skipped.get(reason, 0) + 1
                    break
            else:
                self._take(key[len(prefix) :], row, spool, remarks)

    def _take(self, key: str, row: _Row, spool: Spool, remarks: Remarks) -> None:
        try:
            size, modified = int(row["size"]), _time(row["last_modified_date"])
            etag = str(row["e_tag"]).strip('"')
            if not etag or row["e_tag"] is None:
                raise ValueError("no ETag")
        except (TypeError, ValueError) as error:
            remarks.faults.append(Fault(printable_key(key), f"is no usable row of the inventory: {error}"))
            return
        spool.add(key.encode("utf-8", "surrogatepass"), f"{modified.isoformat()} {size} {etag}".encode())

    def _key(self, key: str | bytes, inventory: InventoryReport) -> str:
        text = key.decode() if isinstance(key, bytes) else key
        if inventory.file_format != "CSV":
            return text
        # In CSV keys are percent-encoded; S3 writes a space as '+', as it does in listings.
        return unquote_plus(text) if self.store.uri.startswith("s3:") else unquote(text)


def _rows(data: IO[bytes], inventory: InventoryReport) -> Iterator[_Row]:
    if inventory.file_format == "CSV":
        with gzip.open(data) as unpacked:
            for values in csv.reader(io.TextIOWrapper(unpacked, "utf-8", newline="")):
                if len(values) != len(inventory.columns):
                    cause = f"has a row of {len(values)} fields, and the manifest names {len(inventory.columns)}"
                    raise InventoryError(inventory.uri, cause, "Take another report.")
                yield dict(zip(inventory.columns, values, strict=True))
        return
    import pyarrow.parquet as pq

    file = pq.ParquetFile(data)
    wanted = [
        name for name in ("key", "size", "e_tag", "last_modified_date", "is_latest", "is_delete_marker")
        if name in file.schema_arrow.names
    ]  # fmt: skip
    for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
        yield from batch.to_pylist()


def _verified(bucket: ObjectStore, file: ReportFile) -> IO[bytes]:
    """A file of the report on this machine's disk, as its MD5 says it is; it goes when it is closed."""
    data = tempfile.TemporaryFile(prefix="video_assets_")  # noqa: SIM115
    digest = hashlib.md5(usedforsecurity=False)
    try:
        for chunk in bucket.stream(file.key):
            digest.update(chunk)
            data.write(chunk)
    except ObjectNotFound:
        remedy = "It was removed since; take a newer report, and let reports live longer than their period."
        raise InventoryError(bucket.uri_of(file.key), "is named by the manifest and not there", remedy) from None
    if digest.hexdigest() != file.md5:
        raise InventoryError(bucket.uri_of(file.key), "is not what its MD5 says: it is damaged", "Take another report.")
    data.seek(0)
    return data


def _newest_of(key: bytes, versions: list[bytes]) -> ObjectInfo:
    """Of a key that a report has twice, the later one: it was overwritten while the report was made."""
    modified, size, etag = max(versions).decode().split(" ", 2)
    return ObjectInfo(key.decode("utf-8", "surrogatepass"), int(size), etag, datetime.fromisoformat(modified))


def _flag(row: _Row, name: str) -> bool | None:
    value = row.get(name)
    return value if value is None or isinstance(value, bool) else {"true": True, "false": False}.get(value.lower())


def _time(value: str | datetime) -> datetime:
    """In whole seconds, as listings and HEAD say it."""
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)

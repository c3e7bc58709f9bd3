"""Writes reports of bucket inventories, as S3 and OSS write them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pyarrow.parquet as pq

from video_assets.storage.object_store import ObjectStore

FIELDS = ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "ETag")
PARQUET = {
    "Bucket": "required binary bucket (UTF8)",
    "Key": "required binary key (UTF8)",
    "VersionId": "optional binary version_id (UTF8)",
    "IsLatest": "optional boolean is_latest",
    "IsDeleteMarker": "optional boolean is_delete_marker",
    "Size": "optional int64 size",
    "LastModifiedDate": "optional int64 last_modified_date (TIMESTAMP_MILLIS)",
    "ETag": "optional binary e_tag (UTF8)",
}
_TYPES = {"IsLatest": pa.bool_(), "IsDeleteMarker": pa.bool_(), "Size": pa.int64()}


@dataclass
class Inventory:
    """An inventory rule of a bucket: `store` is that bucket's root, where the reports go too."""

    store: ObjectStore
    bucket: str
    is_oss: bool = False
    prefix: str = "reports"
    fields: tuple[str, ...] = FIELDS
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Where its reports lie, as a URI."""
        return self.store.uri_of(f"{self.prefix}/{self.bucket}/all") + "/"

    def rows_of(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """Rows of objects as they are now."""
        return [
            self.row(info.key, info.size_bytes, info.last_modified, info.etag) for info in map(self.store.head, keys)
        ]

    def row(
        self, key: str, size: int | None, modified: datetime, etag: str, *, latest: bool = True, deleted: bool = False
    ) -> dict[str, Any]:
        """One row."""
        values = (self.bucket, key, "v", latest, deleted, size, modified, etag)
        return dict(zip(FIELDS, values, strict=True))

    def write(self, rows: list[dict[str, Any]], at: datetime, file_format: str = "CSV", files: int = 1) -> str:
        """Publishes a report; returns the URI of its manifest."""
        base = f"{self.prefix}/{self.bucket}/all"
        named = []
        for number in range(files):
            part = rows[number::files]
            data = self._csv(part) if file_format == "CSV" else self._parquet(part)
            key = f"{base}/data/{at:%Y%m%d%H%M}-{number}.{'csv.gz' if file_format == 'CSV' else 'parquet'}"
            self.store.put(key, data)
            digest = hashlib.md5(data).hexdigest()
            named.append({"key": key, "size": len(data), "MD5checksum": digest.upper() if self.is_oss else digest})
        seconds = int(at.timestamp())
        manifest = {
            "sourceBucket": self.bucket,
            "destinationBucket": self.bucket if self.is_oss else f"arn:aws:s3:::{self.bucket}",
            "version": "2019-09-01" if self.is_oss else "2016-11-30",
            "creationTimestamp": str(seconds if self.is_oss else seconds * 1000),
            "fileFormat": file_format,
            "fileSchema": self._schema(file_format),
            "files": named,
            **self.changes,
        }
        text = json.dumps(manifest).encode()
        folder = f"{base}/{at:%Y-%m-%dT%H-%MZ}"
        self.store.put(f"{folder}/manifest.json", text)
        digest = hashlib.md5(text).hexdigest()
        self.store.put(f"{folder}/manifest.checksum", (digest.upper() if self.is_oss else digest).encode())
        return self.store.uri_of(f"{folder}/manifest.json")

    def _schema(self, file_format: str) -> str:
        if file_format == "CSV":
            return ", ".join(self.fields)
        return "message s3.inventory { " + "; ".join(PARQUET[name] for name in self.fields) + ";}"

    def _csv(self, rows: list[dict[str, Any]]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
        for row in rows:
            values = {
                **row,
                "Key": quote(row["Key"]) if self.is_oss else quote_plus(row["Key"], safe="/"),
                "IsLatest": str(row["IsLatest"]).lower(),
                "IsDeleteMarker": str(row["IsDeleteMarker"]).lower(),
                "Size": "" if row["Size"] is None else row["Size"],
                "LastModifiedDate": row["LastModifiedDate"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            }
            writer.writerow([values[name] for name in self.fields])
        return gzip.compress(text.getvalue().encode())

    def _parquet(self, rows: list[dict[str, Any]]) -> bytes:
        names = [PARQUET[name].split()[2] for name in self.fields]
        types = [
            pa.timestamp("ms") if name == "LastModifiedDate" else _TYPES.get(name, pa.string()) for name in self.fields
        ]
        columns = [
            pa.array([row[n].replace(tzinfo=None) if n == "LastModifiedDate" else row[n] for row in rows], kind)
            for n, kind in zip(self.fields, types, strict=True)
        ]
        sink = io.BytesIO()
        pq.write_table(pa.table(columns, names=names), sink, compression="snappy")
        return sink.getvalue()

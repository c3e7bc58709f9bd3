"""Inventories of S3 and OSS in place of a listing: the same rows, and words for what cannot stand in for one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.inventory_report import InventoryError
from video_assets.sources.partition_scan import scan_partitions
from video_assets.sources.registry import open_source
from video_assets.stages.manifest import Manifest, build_manifest
from video_assets.stages.unmatched import build_unmatched
from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets_tests.servers.oss_environment import oss_environment
from video_assets_tests.servers.s3_server import make_bucket
from video_assets_tests.sources.inventories import FIELDS, Inventory

DAY = Partition("2026-01-03", "veh-7")
HOUR_AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
KEYS = [
    "up loads/veh-7/2026-01-03/front/083000.mp4",
    "up loads/veh-7/2026-01-03/é+%/090000.mp4",
    "up loads/veh-7/2026-01-03/rear/083000.mp4",
    "up loads/veh-7/2026-01-04/rear/083000.mp4",
    "up loads/veh-7/notes.txt",
    "up loads/x.mp4",
    "other/veh-7/2026-01-03/front/083000.mp4",
]


class Bucket:
    """A bucket of uploads with an inventory, and a home on this machine's disk."""

    def __init__(self, store: ObjectStore, name: str, root: Path, *, is_oss: bool) -> None:
        self.store, self.inventory = store, Inventory(store, name, is_oss)
        self.home = root / "store"
        self.tables = ParquetTables(open_store(str(self.home), create=True))
        for key in KEYS:
            store.put(key, b"video")

    def settings(self, **changes: Any) -> Settings:
        places = {"source": self.store.uri_of("up loads"), "inventory": self.inventory.folder, "store": str(self.home)}
        return Settings(**{**places, "settle_s": 0, **changes})

    def manifest(self, **changes: Any) -> Manifest:
        return build_manifest(DAY, tables=self.tables, settings=self.settings(**changes))


@pytest.fixture(params=["s3", "oss"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    if request.param == "s3":
        request.getfixturevalue("s3_bucket")
        name = make_bucket(request.getfixturevalue("s3_url"))
        yield Bucket(open_store(f"s3://{name}"), name, tmp_path, is_oss=False)
    else:
        name = f"fleet-{uuid.uuid4().hex[:8]}"
        with oss_environment(monkeypatch, [name]) as server:
            yield Bucket(open_store(f"oss://{server.endpoint}/{name}"), name, tmp_path, is_oss=True)


def without_source(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "source"} for row in rows]


@pytest.mark.parametrize("file_format", ["CSV", "Parquet"])
def test_the_rows_are_those_of_a_listing(bucket: Bucket, file_format: str) -> None:
    if bucket.inventory.is_oss and file_format == "Parquet":
        pytest.skip("OSS writes CSV")
    rows = bucket.inventory.rows_of(reversed(KEYS))
    bucket.inventory.write(rows, datetime.now(UTC) - timedelta(minutes=61), file_format, files=3)
    listed, inventoried = bucket.manifest(inventory=None), bucket.manifest()
    assert without_source(inventoried.fold.rows.to_pylist()) == without_source(listed.fold.rows.to_pylist())
    assert len(listed.fold.rows) == 2
    assert set(inventoried.fold.rows["source"].to_pylist()) == {"inventory"}
    for settings in (bucket.settings(inventory=None), bucket.settings()):
        unmatched = build_unmatched(tables=bucket.tables, settings=settings)
        assert sorted(Path(row["video_path"]).name for row in unmatched.fold.rows.to_pylist()) == [
            "090000.mp4",
            "x.mp4",
        ]
        assert unmatched.skipped["extension"] == 1
    assert "1 h old" in unmatched.examples[0]


def test_every_object_is_given_in_the_order_of_keys(bucket: Bucket) -> None:
    bucket.inventory.write(bucket.inventory.rows_of(reversed(KEYS)), HOUR_AGO)
    listed, inventoried = open_source(bucket.settings(inventory=None)), open_source(bucket.settings())
    assert list(inventoried.everything()) == list(listed.everything())
    assert inventoried.unmatched == listed.unmatched


def test_old_versions_and_delete_markers_are_no_objects(bucket: Bucket) -> None:
    (row,) = bucket.inventory.rows_of(KEYS[:1])
    old = {**row, "IsLatest": False, "ETag": "f" * 32, "Size": 1}
    gone = bucket.inventory.row(KEYS[2], None, HOUR_AGO, "", deleted=True)
    bucket.inventory.write(
        [old, row, gone, {**row, "LastModifiedDate": HOUR_AGO - timedelta(days=1), "Size": 2}], HOUR_AGO
    )
    listing = open_source(bucket.settings())
    (upload,) = listing.everything()
    assert upload.info.size_bytes == 5
    assert (listing.skipped["old_version"], listing.skipped["delete_marker"]) == (1, 1)


def test_objects_are_looked_at_again(bucket: Bucket) -> None:
    bucket.inventory.write(bucket.inventory.rows_of(KEYS), HOUR_AGO)
    bucket.store.put(KEYS[0], b"another video")
    bucket.store.delete(KEYS[2])
    manifest = bucket.manifest()
    (row,) = manifest.fold.rows.to_pylist()
    assert (row["size_bytes"], row["etag"]) == (13, bucket.store.head(KEYS[0]).etag)
    assert manifest.skipped["gone"] == 1


def test_the_newest_whole_report_of_the_folder_is_taken(bucket: Bucket) -> None:
    first = bucket.inventory.write(bucket.inventory.rows_of(KEYS[:1]), HOUR_AGO - timedelta(days=1))
    assert len(bucket.manifest().fold.rows) == 1
    bucket.inventory.write(bucket.inventory.rows_of(KEYS), HOUR_AGO)
    half = f"reports/{bucket.inventory.bucket}/all/2099-01-01T00-00Z/manifest.json"
    bucket.store.put(half, b"{")
    assert len(bucket.manifest().fold.rows) == 2
    assert len(bucket.manifest(inventory=first).fold.rows) == 1


def test_a_report_that_has_not_changed_is_not_read_again(bucket: Bucket) -> None:
    manifest_uri = bucket.inventory.write(bucket.inventory.rows_of(KEYS), HOUR_AGO)
    whole = scan_partitions(open_source(bucket.settings()).everything())
    open_source(bucket.settings(), with_files=True).scans()
    data = next(info.key for info in bucket.store.list("reports/") if "/data/" in info.key)
    bucket.store.delete(data)
    listing = open_source(bucket.settings(inventory=manifest_uri), with_files=True)
    scans = listing.scans()
    assert {p: (s.videos, s.size_bytes, s.fingerprint) for p, s in scans.items()} == {
        p: (s.videos, s.size_bytes, s.fingerprint) for p, s in whole.items()
    }
    assert listing.unmatched_fingerprint()
    assert "unchanged" in listing.told[0]
    assert len(bucket.manifest().fold.rows) == 2


REFUSED = [
    ({"fileFormat": "ORC"}, "is of the format ORC. Set the inventory's output format to Parquet or CSV"),
    ({"sourceBucket": "another"}, "is of the bucket another, and the source is"),
    ({"fileSchema": "Bucket, Key, Size"}, "has no field LastModifiedDate, ETag. Add them to the inventory's"),
    ({"fileSchema": "Bucket, Key, Size, LastModifiedDate, ETag"}, "a row of 8 fields, and the manifest names 5"),
    ({"files": [{"key": "no/such", "MD5checksum": "0"}]}, "is named by the manifest and not there"),
    ({"files": 7}, "is no manifest of an inventory"),
]


def test_what_cannot_stand_in_for_a_listing_says_what_to_change(bucket: Bucket) -> None:
    rows = bucket.inventory.rows_of(KEYS)
    for number, (changes, words) in enumerate(REFUSED):
        bucket.inventory.changes = changes
        bucket.inventory.write(rows, HOUR_AGO + timedelta(minutes=number))
        with pytest.raises(InventoryError) as caught:
            list(open_source(bucket.settings()).everything())
        assert words in str(caught.value)


def test_damage_is_seen_before_anything_is_given(bucket: Bucket) -> None:
    uri = bucket.inventory.write(bucket.inventory.rows_of(KEYS), HOUR_AGO)
    (data,) = [info.key for info in bucket.store.list("reports/") if "/data/" in info.key]
    whole = bucket.store.get(data)
    bucket.store.put(data, whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InventoryError, match="MD5"):
        next(open_source(bucket.settings()).everything())
    bucket.store.put(data, whole)
    manifest = bucket.store.key_of(uri)
    assert manifest is not None
    bucket.store.put(manifest, bucket.store.get(manifest) + b" ")
    with pytest.raises(InventoryError, match=r"manifest\.checksum"):
        next(open_source(bucket.settings()).everything())


def test_a_folder_without_a_report_and_a_source_that_is_no_bucket(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="holds no whole report"):
        list(open_source(bucket.settings()).everything())
    with pytest.raises(InventoryError, match=r"no manifest\.json|does not exist"):
        list(open_source(bucket.settings(inventory=bucket.inventory.folder + "x/manifest.json")).everything())
    uri = bucket.inventory.write(bucket.inventory.rows_of(KEYS), HOUR_AGO)
    (tmp_path / "uploads").mkdir()
    with pytest.raises(InventoryError, match="and the source is file:"):
        list(open_source(bucket.settings(source=str(tmp_path / "uploads"), inventory=uri)).everything())


def test_a_row_that_cannot_be_used_is_named(bucket: Bucket) -> None:
    (row,) = bucket.inventory.rows_of(KEYS[:1])
    bucket.inventory.write([{**row, "Size": None}, *bucket.inventory.rows_of(KEYS[2:3])], HOUR_AGO)
    listing = open_source(bucket.settings())
    assert len(list(listing.everything())) == 1
    (fault,) = listing.unmatched
    assert fault.info.key == KEYS[0].removeprefix("up loads/")
    assert "no usable row of the inventory" in fault.reason


def test_fields_may_come_in_any_order(bucket: Bucket) -> None:
    bucket.inventory.fields = ("Bucket", "Key", "ETag", "LastModifiedDate", "Size")
    bucket.inventory.write(bucket.inventory.rows_of(KEYS), HOUR_AGO)
    assert len(bucket.manifest().fold.rows) == 2
    assert set(FIELDS) > set(bucket.inventory.fields)

"""Tables as Parquet files in an object store."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.provenance import Provenance
from video_assets.table_store.table_store import SchemaMismatch, TableStore, fingerprint
from video_assets.tables import ALL, FRAMES, VIDEO_MANIFEST
from video_assets_tests.table_store.table_store_contract import DAY, Opener, TableStoreContract, commit, videos


def open_tables(root: str) -> ParquetTables:
    return ParquetTables(open_store(root, create=True))


class TestParquetTables(TableStoreContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return partial(open_tables, str(tmp_path))


@pytest.fixture
def tables(tmp_path: Path) -> TableStore:
    return open_tables(str(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipe": 1}', "\udcff", '{"data_version": "a", "seconds": "x"}'])
def test_a_strangers_provenance_is_unknown(text: str) -> None:
    assert Provenance.parse(text) is None


def test_partition_columns_are_in_the_path_only(tables: TableStore, tmp_path: Path) -> None:
    import pyarrow.dataset as ds

    commit(tables, videos("file:///a"))
    dataset = ds.dataset(tmp_path / "video_manifest", partitioning="hive", exclude_invalid_files=True)
    (row,) = dataset.to_table().to_pylist()
    assert (row["date"], row["vehicle"]) == ("2026-01-03", "veh-7")
    assert not {"date", "vehicle"} & set(tables.read(VIDEO_MANIFEST, DAY).column_names)


def test_rows_of_an_earlier_version_gain_the_new_columns(tables: TableStore, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    file = tmp_path / "video_manifest/date=2026-01-03/vehicle=veh-7/data.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(videos("file:///a").drop_columns(["source_deleted_at"]), file)
    assert tables.read(VIDEO_MANIFEST, DAY)["source_deleted_at"].to_pylist() == [None]
    pq.write_table(videos("file:///a").set_column(1, "size_bytes", pa.array(["1"])), file)
    with pytest.raises(SchemaMismatch, match="size_bytes is stored as string"):
        tables.read(VIDEO_MANIFEST, DAY)


def test_a_data_version_leaves_out_what_may_differ_between_runs() -> None:
    base = videos("file:///a")
    assert fingerprint(VIDEO_MANIFEST, base) == fingerprint(VIDEO_MANIFEST, videos("file:///a", attempts=3))
    assert fingerprint(VIDEO_MANIFEST, base) == fingerprint(VIDEO_MANIFEST, videos("file:///a", error_msg="later"))
    assert fingerprint(VIDEO_MANIFEST, base) != fingerprint(VIDEO_MANIFEST, videos("file:///a", etag="other"))
    assert fingerprint(VIDEO_MANIFEST, base) != fingerprint(VIDEO_MANIFEST, videos("file:///a", camera=""))


def test_every_column_is_described_and_every_table_sorted_by_columns_it_has() -> None:
    for table in ALL:
        assert all(column.description for column in table.columns), table.name
        assert set(table.key) <= set(table.schema.names), table.name
    assert VIDEO_MANIFEST.schema.names[:3] == ["video_path", "size_bytes", "last_modified"]
    assert {"video_path", "frame_idx", "image_id", "image_url", "status", "error_stage", "error_msg"} <= set(
        FRAMES.schema.names
    )

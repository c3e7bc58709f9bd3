"""Whole partitions in and out of a table store. Written against the protocol: every backend will run it."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from video_assets.keys import Partition
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.provenance import Provenance, Recipe
from video_assets.table_store.table_store import (
    CommitConflict,
    Fold,
    PartitionNotFound,
    SchemaMismatch,
    TableStore,
    fingerprint,
)
from video_assets.tables import ALL, CLIPS, FRAMES, UNMATCHED, VIDEO_MANIFEST, Table

DAY = Partition("2026-01-03", "veh-7")


@pytest.fixture
def tables(tmp_path: Path) -> TableStore:
    return ParquetTables(open_store(str(tmp_path), create=True))


def videos(*paths: str, **more: Any) -> pa.Table:
    rows = [{"video_path": path, "size_bytes": 1, "etag": "e", "status": "ok", "attempts": 1, **more} for path in paths]
    return VIDEO_MANIFEST.rows(rows)


def commit(tables: TableStore, rows: pa.Table, partition: Partition = DAY, table: Table = VIDEO_MANIFEST) -> bool:
    return tables.commit(Fold(table, partition, rows, tables.version(table, partition)))


def test_rows_come_back_in_the_order_of_the_key(tables: TableStore) -> None:
    assert commit(tables, videos("file:///b", "file:///a"))
    assert tables.read(VIDEO_MANIFEST, DAY)["video_path"].to_pylist() == ["file:///a", "file:///b"]


def test_an_uncommitted_partition_is_unknown_not_empty(tables: TableStore) -> None:
    with pytest.raises(PartitionNotFound, match="Materialize the asset video_manifest"):
        tables.read(VIDEO_MANIFEST, DAY)
    assert tables.version(VIDEO_MANIFEST, DAY) is None
    commit(tables, videos())
    assert tables.read(VIDEO_MANIFEST, DAY).num_rows == 0


def test_a_commit_of_the_same_rows_changes_nothing(tables: TableStore) -> None:
    commit(tables, videos("file:///a"))
    before = tables.version(VIDEO_MANIFEST, DAY)
    assert not commit(tables, videos("file:///a"))
    assert tables.version(VIDEO_MANIFEST, DAY) == before


def test_a_commit_on_a_stale_base_is_refused(tables: TableStore) -> None:
    stale = tables.version(VIDEO_MANIFEST, DAY)
    commit(tables, videos("file:///a"))
    with pytest.raises(CommitConflict, match=r"2026-01-03\|veh-7"):
        tables.commit(Fold(VIDEO_MANIFEST, DAY, videos("file:///b"), stale))
    assert tables.read(VIDEO_MANIFEST, DAY)["video_path"].to_pylist() == ["file:///a"]


def test_rows_of_another_schema_are_refused_by_column(tables: TableStore) -> None:
    wrong = videos("file:///a").drop_columns(["etag"])
    with pytest.raises(SchemaMismatch, match="etag is missing"):
        commit(tables, wrong)
    retyped = videos("file:///a")
    retyped = retyped.set_column(1, "size_bytes", pa.array(["1"]))
    with pytest.raises(SchemaMismatch, match="size_bytes is string, not int64"):
        commit(tables, retyped)


def test_what_rows_were_made_of_is_stored_with_them(tables: TableStore) -> None:
    recipe = Recipe("1", {"fps": "2"})

    def made_of(upstream: str, rows: pa.Table, seconds: float = 0.0) -> bool:
        base = tables.version(VIDEO_MANIFEST, DAY)
        return tables.commit(
            Fold(VIDEO_MANIFEST, DAY, rows, base, upstream_version=upstream, recipe=recipe, seconds=seconds)
        )

    assert tables.provenance(VIDEO_MANIFEST, DAY) is None
    assert made_of("a", videos("file:///b", "file:///a"), seconds=2.5)
    stored = tables.provenance(VIDEO_MANIFEST, DAY)
    version = fingerprint(VIDEO_MANIFEST, tables.read(VIDEO_MANIFEST, DAY))
    assert stored == Provenance(version, "a", recipe)
    assert stored is not None
    assert stored.seconds == 2.5
    assert not made_of("a", videos("file:///a", "file:///b"), seconds=0), "seconds are no news"
    assert made_of("b", videos("file:///a", "file:///b")), "the same rows of something else are"
    changed = tables.provenance(VIDEO_MANIFEST, DAY)
    assert changed == Provenance(version, "b", recipe)
    assert made_of("c", videos(), seconds=0)
    assert not made_of("c", videos(), seconds=0), "no seconds are no news either"
    assert commit(tables, videos("file:///a")), "made of nobody knows what"
    assert tables.provenance(VIDEO_MANIFEST, DAY) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipe": 1}', "\udcff", '{"data_version": "a", "seconds": "x"}'])
def test_a_strangers_provenance_is_unknown(text: str) -> None:
    assert Provenance.parse(text) is None


def test_partitions_are_listed_by_day(tables: TableStore) -> None:
    for partition in (DAY, Partition("2026-01-03", "veh-10"), Partition("2026-01-04", "veh-7")):
        commit(tables, videos(), partition)
    assert sorted(p.key for p in tables.partitions(VIDEO_MANIFEST)) == [
        "2026-01-03|veh-10",
        "2026-01-03|veh-7",
        "2026-01-04|veh-7",
    ]
    assert [p.key for p in tables.partitions(VIDEO_MANIFEST, "2026-01-04")] == ["2026-01-04|veh-7"]
    assert list(tables.partitions(CLIPS)) == []


def test_an_unpartitioned_table_has_one_place(tables: TableStore) -> None:
    rows = UNMATCHED.rows([{"video_path": "file:///x", "error_msg": "no"}])
    assert tables.commit(Fold(UNMATCHED, None, rows, None))
    assert tables.read(UNMATCHED, None).equals(rows)


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


def _commit_many(root: str, worker: int, results: Any) -> None:
    tables = ParquetTables(open_store(root, create=True))
    won = 0
    for n in range(20):
        base = tables.version(VIDEO_MANIFEST, DAY)
        try:
            won += tables.commit(Fold(VIDEO_MANIFEST, DAY, videos(f"file:///{worker}-{n}"), base))
        except CommitConflict:
            continue
    results.put(won)


def test_of_racing_writers_each_commit_builds_on_what_it_read(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_commit_many, args=(str(tmp_path), n, results)) for n in range(3)]
    for worker in workers:
        worker.start()
    wins = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(wins) >= 20
    assert ParquetTables(open_store(str(tmp_path))).read(VIDEO_MANIFEST, DAY).num_rows == 1


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

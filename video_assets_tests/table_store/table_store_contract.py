"""What every `TableStore` keeps. A backend's test module derives from `TableStoreContract` and gives `opener`.

The fixture `opener` gives a function that opens the tables of one empty place; it can be sent to another process.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from video_assets.keys import Partition
from video_assets.table_store.provenance import Provenance, Recipe
from video_assets.table_store.table_store import (
    CommitConflict,
    Fold,
    PartitionNotFound,
    SchemaMismatch,
    TableStore,
    fingerprint,
)
from video_assets.tables import ALL, CLIPS, FLEET_DAILY, ITEM, UNMATCHED, VIDEO_MANIFEST, Table

DAY = Partition("2026-01-03", "veh-7")

Opener = Callable[[], TableStore]


def videos(*paths: str, **more: Any) -> pa.Table:
    rows = [{"video_path": path, "size_bytes": 1, "etag": "e", "status": "ok", "attempts": 1, **more} for path in paths]
    return VIDEO_MANIFEST.rows(rows)


def commit(tables: TableStore, rows: pa.Table, partition: Partition = DAY, table: Table = VIDEO_MANIFEST) -> bool:
    return tables.commit(Fold(table, partition, rows, tables.version(table, partition)))


def row_of(table: Table, number: int) -> dict[str, Any]:
    """A row with a value of its type in every column, or (number 0) nulls in all that are no key.

    It names no item: a commit would ask for the item's record.
    """
    row: dict[str, Any] = {}
    for field in table.schema:
        if (field.name not in table.key and not number) or field.name == ITEM.name:
            continue
        if pa.types.is_timestamp(field.type):
            row[field.name] = datetime(2026, 11, 1, 5, 30, number, 123_456, UTC)
        elif pa.types.is_list(field.type):
            row[field.name] = ["city bike", "", "é'\\\n"][:number]
        elif pa.types.is_string(field.type):
            row[field.name] = f"{field.name} {number} é'\"\\\n\t𝄞"
        elif pa.types.is_boolean(field.type):
            row[field.name] = number % 2 == 0
        elif pa.types.is_floating(field.type):
            row[field.name] = -number / 4
        else:
            row[field.name] = -number * (2**30 if pa.types.is_int32(field.type) else 2**60) // 2
    return row


class TableStoreContract:
    """The tests."""

    @pytest.fixture
    def tables(self, opener: Opener) -> TableStore:
        return opener()

    def test_rows_come_back_in_the_order_of_the_key(self, tables: TableStore) -> None:
        assert commit(tables, videos("file:///b", "file:///a"))
        assert tables.read(VIDEO_MANIFEST, DAY)["video_path"].to_pylist() == ["file:///a", "file:///b"]

    def test_an_uncommitted_partition_is_unknown_not_empty(self, tables: TableStore) -> None:
        with pytest.raises(PartitionNotFound, match="Materialize the asset video_manifest"):
            tables.read(VIDEO_MANIFEST, DAY)
        assert tables.version(VIDEO_MANIFEST, DAY) is None
        commit(tables, videos())
        assert tables.read(VIDEO_MANIFEST, DAY).num_rows == 0

    def test_a_commit_of_the_same_rows_changes_nothing(self, tables: TableStore) -> None:
        commit(tables, videos("file:///a"))
        before = tables.version(VIDEO_MANIFEST, DAY)
        assert not commit(tables, videos("file:///a"))
        assert tables.version(VIDEO_MANIFEST, DAY) == before

    def test_a_commit_on_a_stale_base_is_refused(self, tables: TableStore) -> None:
        stale = tables.version(VIDEO_MANIFEST, DAY)
        commit(tables, videos("file:///a"))
        with pytest.raises(CommitConflict, match=r"2026-01-03\|veh-7"):
            tables.commit(Fold(VIDEO_MANIFEST, DAY, videos("file:///b"), stale))
        assert tables.read(VIDEO_MANIFEST, DAY)["video_path"].to_pylist() == ["file:///a"]

    def test_rows_of_another_schema_are_refused_by_column(self, tables: TableStore) -> None:
        wrong = videos("file:///a").drop_columns(["etag"])
        with pytest.raises(SchemaMismatch, match="etag is missing"):
            commit(tables, wrong)
        retyped = videos("file:///a")
        retyped = retyped.set_column(1, "size_bytes", pa.array(["1"]))
        with pytest.raises(SchemaMismatch, match="size_bytes is string, not int64"):
            commit(tables, retyped)

    def test_what_rows_were_made_of_is_stored_with_them(self, tables: TableStore) -> None:
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

    def test_an_unpartitioned_table_has_one_place(self, tables: TableStore) -> None:
        rows = UNMATCHED.rows([{"video_path": "file:///x", "error_msg": "no"}])
        assert tables.commit(Fold(UNMATCHED, None, rows, None))
        assert tables.read(UNMATCHED, None).equals(rows)

    def test_partitions_are_listed_by_day(self, tables: TableStore) -> None:
        for partition in (DAY, Partition("2026-01-03", "veh-10"), Partition("2026-01-04", "veh-7")):
            commit(tables, videos(), partition)
        assert sorted(p.key for p in tables.partitions(VIDEO_MANIFEST)) == [
            "2026-01-03|veh-10",
            "2026-01-03|veh-7",
            "2026-01-04|veh-7",
        ]
        assert [p.key for p in tables.partitions(VIDEO_MANIFEST, "2026-01-04")] == ["2026-01-04|veh-7"]
        assert list(tables.partitions(CLIPS)) == []

    @pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
    def test_values_of_every_column_come_back_as_they_were(self, tables: TableStore, table: Table) -> None:
        day = {2: DAY, 1: Partition(DAY.date), 0: None}[len(table.partitioned_by)]
        rows = table.rows([row_of(table, number) for number in (1, 2, 0, 3)])
        assert tables.commit(Fold(table, day, rows, None))
        read = tables.read(table, day)
        assert read.schema.equals(table.schema)
        assert read.equals(rows.sort_by([(name, "ascending") for name in table.key]))

    def test_a_table_of_days_has_a_partition_a_day(self, tables: TableStore) -> None:
        rows = FLEET_DAILY.rows([{"vehicle": "veh-7", "videos": 2, "status": "ok"}])
        assert tables.commit(Fold(FLEET_DAILY, Partition("2026-01-03"), rows, None))
        assert [p.key for p in tables.partitions(FLEET_DAILY)] == ["2026-01-03"]
        assert tables.read(FLEET_DAILY, Partition("2026-01-03")).equals(rows)

    def test_fewer_rows_replace_more_and_none_replace_some(self, tables: TableStore) -> None:
        for paths in (["a", "b", "c"], ["d"], []):
            assert commit(tables, videos(*(f"file:///{path}" for path in paths)))
            assert tables.read(VIDEO_MANIFEST, DAY).num_rows == len(paths)
        assert [p.key for p in tables.partitions(VIDEO_MANIFEST)] == [DAY.key]

    def test_of_racing_writers_each_commit_builds_on_what_it_read(self, opener: Opener) -> None:
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        workers = [context.Process(target=_commit_many, args=(opener, n, results)) for n in range(2)]
        for worker in workers:
            worker.start()
        wins = [results.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join()
        assert sum(wins) >= ROUNDS
        assert opener().read(VIDEO_MANIFEST, DAY).num_rows == 1


ROUNDS = 6


def _commit_many(opener: Opener, worker: int, results: Any) -> None:
    tables, won = opener(), 0
    for number in range(ROUNDS):
        base = tables.version(VIDEO_MANIFEST, DAY)
        try:
            won += tables.commit(Fold(VIDEO_MANIFEST, DAY, videos(f"file:///{worker}-{number}"), base))
        except CommitConflict:
            continue
    results.put(won)

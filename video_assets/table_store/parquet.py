"""Tables as one Parquet file a partition, on any object store.

Layout: `<store>/<table>/date=2026-01-03/vehicle=veh-7/data.parquet`, hive-style: DuckDB, pandas and ODPS external
tables restore `date` and `vehicle` from the path.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from video_assets.keys import Partition, data_key, partition_root
from video_assets.storage.object_store import CommonPrefix, ObjectNotFound, ObjectStore
from video_assets.table_store.commit_guard import require_records
from video_assets.table_store.parquet_bytes import parquet_bytes
from video_assets.table_store.provenance import Provenance
from video_assets.table_store.table_store import (
    WRITER_WAIT_S,
    CommitConflict,
    DamagedPartition,
    Fold,
    PartitionNotFound,
    SchemaMismatch,
    check_schema,
)
from video_assets.tables import Table

_PROVENANCE = b"video_assets.provenance"
"""The entry of a file's schema metadata that is its provenance: in the file, so that it is never of other rows."""


@dataclass(frozen=True)
class ParquetTables:
    """A TableStore of Parquet files in an object store."""

    store: ObjectStore

    def read(self, table: Table, partition: Partition | None) -> pa.Table:
        import pyarrow.parquet as pq

        try:
            data = self.store.get(data_key(table.name, partition))
        except ObjectNotFound:
            raise PartitionNotFound(
                f"table {table.name}, partition {partition}",
                "was never materialized",
                f"Materialize the asset {table.name} for this partition first.",
            ) from None
        try:
            # Arrow's threads abort a process that ends just after they were begun: seen on a busy machine, in 1 of 5
            # short commands. A partition's table is small.
            rows = pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
        except pa.ArrowException as error:
            remedy = "Delete this file and materialize the partition again; what it is made of is kept."
            raise DamagedPartition(self.uri(table, partition), f"cannot be read: {error}", remedy) from error
        return to_current_schema(table, rows)

    def version(self, table: Table, partition: Partition | None) -> str | None:
        try:
            return self.store.head(data_key(table.name, partition)).etag
        except ObjectNotFound:
            return None

    def provenance(self, table: Table, partition: Partition | None) -> Provenance | None:
        try:
            with self.store.open(data_key(table.name, partition)) as stream:
                return _provenance(stream)
        except (ObjectNotFound, pa.ArrowException):
            return None

    def partitions(self, table: Table, date: str | None = None) -> Iterator[Partition]:
        root = partition_root(table.name, None)
        days = [f"{root}date={date}/"] if date else self._folders(root)
        for day in days:
            for folder in self._folders(day) if len(table.partitioned_by) > 1 else [day]:
                partition = Partition.from_path(folder.removeprefix(root).rstrip("/"))
                if self.version(table, partition) is not None:
                    yield partition

    def commit(self, fold: Fold) -> bool:
        check_schema(fold.table, fold.rows)
        key = data_key(fold.table.name, fold.partition)
        with self.writer(fold.table, fold.partition):
            version = self.version(fold.table, fold.partition)
            if version is not None and _holds(self.store.get(key), fold):
                return False
            if version != fold.base:
                raise CommitConflict(
                    f"table {fold.table.name}, partition {fold.partition}",
                    "was committed by another run since this run read it",
                    "Run it again: what this run made is kept and not made again.",
                )
            require_records(self.store, fold)
            self.store.put(key, _table_bytes(fold.ordered, fold.provenance))
        return True

    def uri(self, table: Table, partition: Partition | None) -> str:
        return self.store.uri_of(data_key(table.name, partition))

    def writer(
        self, table: Table, partition: Partition | None, *, wait_s: float = WRITER_WAIT_S
    ) -> AbstractContextManager[None]:
        return self.store.lock(partition_root(table.name, partition).rstrip("/"), timeout_s=wait_s)

    def _folders(self, prefix: str) -> Iterator[str]:
        for entry in self.store.list_level(prefix):
            if isinstance(entry, CommonPrefix) and entry.prefix.removeprefix(prefix).startswith(("date=", "vehicle=")):
                yield entry.prefix


def _holds(stored: bytes, fold: Fold) -> bool:
    """Whether a file is what the fold would be, were the seconds the same."""
    try:
        provenance = _provenance(io.BytesIO(stored))
    except pa.ArrowException:
        return False
    return provenance == fold.provenance and stored == _table_bytes(fold.ordered, provenance)


def _provenance(stream: BinaryIO) -> Provenance | None:
    import pyarrow.parquet as pq

    metadata = pq.ParquetFile(stream).schema_arrow.metadata or {}
    return Provenance.parse(metadata.get(_PROVENANCE, b""))


def _table_bytes(rows: pa.Table, provenance: Provenance | None) -> bytes:
    return parquet_bytes(rows.replace_schema_metadata({_PROVENANCE: provenance.dump()} if provenance else None))


def to_current_schema(table: Table, rows: pa.Table) -> pa.Table:
    """Rows written by an earlier version: columns added since are null; a changed type is an error."""
    columns = []
    types = {field.name: field.type for field in rows.schema}
    for field in table.schema:
        found = types.get(field.name)
        if found is None:
            columns.append(pa.nulls(len(rows), field.type))
        elif found.equals(field.type):
            columns.append(rows[field.name])
        else:
            raise SchemaMismatch(
                f"table {table.name}",
                f"column {field.name} is stored as {found}, not {field.type}",
                "It was written by another version: materialize the partition again.",
            )
    return pa.table(columns, schema=table.schema)

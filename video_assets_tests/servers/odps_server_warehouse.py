"""The tables of the MaxCompute test server: schemas, partitions and rows, in memory."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from video_assets_tests.servers.odps_server_errors import OdpsServerError, no_such_partition, no_such_table
from video_assets_tests.servers.odps_server_types import OdpsSchema, arrow_type

Values = tuple[str, ...]
"""The values of a partition's columns; of a table without, none."""


@dataclass
class StoredPartition:
    """Rows, and when they were last written (whole seconds, as the service keeps it)."""

    rows: pa.Table
    created: int = field(default_factory=lambda: int(time.time()))
    modified: int = field(default_factory=lambda: int(time.time()))


@dataclass
class StoredTable:
    """A table or (with `view`, its SELECT) a view."""

    name: str
    schema: OdpsSchema
    comment: str = ""
    lifecycle: int | None = None
    view: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))
    partitions: dict[Values, StoredPartition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.schema.partition_columns:
            self.partitions[()] = StoredPartition(self.schema.arrow.empty_table())

    def values(self, spec: str) -> Values:
        """The values of `ds='20260103',vehicle='veh-7'`, quoted or not; all columns must be named."""
        named = spec_values(spec)
        columns = [column.name for column in self.schema.partition_columns]
        if list(named) != columns:
            raise OdpsServerError(400, "InvalidPartitionSpec", f"ODPS-0123091: {spec!r} does not name {columns}")
        return tuple(named.values())

    def partition(self, values: Values) -> StoredPartition:
        """Raises OdpsServerError where there is none."""
        if values not in self.partitions:
            raise no_such_partition(str(values))
        return self.partitions[values]

    def add_column(self, schema: OdpsSchema) -> None:
        """Another schema with columns added at the end; rows have nulls in them."""
        self.schema = schema
        for partition in self.partitions.values():
            for column in schema.columns[partition.rows.num_columns :]:
                nulls = pa.nulls(len(partition.rows), arrow_type(column.type))
                partition.rows = partition.rows.append_column(column.name, nulls)

    def all_rows(self) -> pa.Table:
        """Every row, with the columns of the partition, as SQL sees them."""
        parts = [self.schema.arrow.empty_table(), *(p.rows for p in self.partitions.values())]
        rows = pa.concat_tables(parts)
        for index, column in enumerate(self.schema.partition_columns):
            repeated = itertools.chain.from_iterable([v[index]] * len(p.rows) for v, p in self.partitions.items())
            rows = rows.append_column(column.name, pa.array(list(repeated), pa.string()))
        return rows


def spec_values(spec: str) -> dict[str, str]:
    """`ds='20260103',vehicle='veh-7'` as a dict."""
    pairs = (part.partition("=") for part in spec.replace("/", ",").split(",") if part)
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


@dataclass
class Upload:
    """An upload session: blocks that nobody sees before it is committed."""

    table: StoredTable
    values: Values
    overwrite: bool
    blocks: dict[int, pa.Table] = field(default_factory=dict)
    status: str = "NORMAL"


class Warehouse:
    """The tables of one project. Methods may be called from several threads; rows change in one step."""

    def __init__(self) -> None:
        self.guard = threading.RLock()
        self._tables: dict[str, StoredTable] = {}

    def add(self, table: StoredTable) -> None:
        with self.guard:
            self._tables[table.name.lower()] = table

    def table(self, name: str) -> StoredTable:
        """Raises OdpsServerError where there is none."""
        with self.guard:
            if name.lower() not in self._tables:
                raise no_such_table(name)
            return self._tables[name.lower()]

    def has(self, name: str) -> bool:
        return name.lower() in self._tables

    def drop(self, name: str) -> None:
        with self.guard:
            self._tables.pop(name.lower(), None)

    def tables(self) -> Iterator[StoredTable]:
        return iter(list(self._tables.values()))

    def commit(self, upload: Upload) -> None:
        """The session's blocks become rows of its partition, or all of them."""
        with self.guard:
            rows = pa.concat_tables([upload.table.schema.arrow.empty_table(), *upload.blocks.values()])
            partition = upload.table.partition(upload.values)
            before = [] if upload.overwrite else [partition.rows]
            created = partition.created
            # In one step: whoever reads has the old rows or the new.
            upload.table.partitions[upload.values] = StoredPartition(pa.concat_tables([*before, rows]), created)
            upload.status = "CLOSED"

"""What a table store is: whole partitions in and out, published atomically. Backends pass one contract suite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import pyarrow as pa

from video_assets.errors import VideoAssetsError
from video_assets.keys import Partition
from video_assets.table_store.provenance import Provenance, Recipe
from video_assets.tables import FAILED, FILTERED, OK, Table

WRITER_WAIT_S = 3600
"""How long a run waits for another run of the same partition."""


class TableError(VideoAssetsError):
    """A table or a partition of one that cannot be read or committed."""


class PartitionNotFound(TableError):
    """A partition that was never committed. It is unknown, not empty (SPEC S7)."""


class DamagedPartition(TableError):
    """A committed partition that something outside has made unreadable."""


class SchemaMismatch(TableError):
    """Rows that are not of the table's schema."""


class CommitConflict(TableError):
    """Another run committed the partition since this one read what it builds on."""


@dataclass(frozen=True)
class Fold:
    """A partition's rows, ready to commit.

    `base` is the version of the committed table when the rows were folded, None where there was none: the commit is
    refused if it has changed since. `made` counts the items that this run worked on, `bytes_read` what it read of their
    input, of `bytes_total`; `upstream` is what the rows were made of, for the checks. `upstream_version` is its data
    version, `recipe` how the rows were made of it, and `seconds` what that took, in this run and those before.
    """

    table: Table
    partition: Partition | None
    rows: pa.Table
    base: str | None
    made: int = 0
    upstream: pa.Table | None = None
    bytes_read: int = 0
    bytes_total: int = 0
    upstream_version: str | None = None
    recipe: Recipe | None = None
    seconds: float = 0.0

    @cached_property
    def ordered(self) -> pa.Table:
        """The rows in the order of the table's key, as they are stored."""
        return self.rows.sort_by([(name, "ascending") for name in self.table.key])

    @cached_property
    def data_version(self) -> str:
        """A hash of what the rows say; attempts and messages aside."""
        return fingerprint(self.table, self.ordered)

    @property
    def provenance(self) -> Provenance | None:
        """What is stored beside the rows of what they were made of; None where nobody said."""
        if self.recipe is None:
            return None
        return Provenance(self.data_version, self.upstream_version, self.recipe, round(self.seconds, 3))

    def count(self, status: str) -> int:
        """How many rows have this status."""
        return self.rows["status"].to_pylist().count(status) if "status" in self.rows.column_names else 0

    @property
    def counts(self) -> dict[str, int]:
        """Rows by status."""
        return {status: self.count(status) for status in (OK, FAILED, FILTERED)}


class TableStore(Protocol):
    """Tables by partition. A reader sees a whole partition or the previous one."""

    def read(self, table: Table, partition: Partition | None) -> pa.Table:
        """The committed rows in the order of the table's key.

        Raises:
            PartitionNotFound, DamagedPartition, SchemaMismatch.
        """
        ...

    def version(self, table: Table, partition: Partition | None) -> str | None:
        """A token that changes with each commit that changes anything; None if never committed."""
        ...

    def partitions(self, table: Table, date: str | None = None) -> Iterator[Partition]:
        """The committed partitions of a table (of one day), in order."""
        ...

    def provenance(self, table: Table, partition: Partition | None) -> Provenance | None:
        """What the committed rows were made of, without reading them; None where that is not known, or never committed.

        It is never that of other rows than those that `read` gives: a store that cannot publish both at once takes the
        old one away before it replaces the rows, and adds the new one after.
        """
        ...

    def commit(self, fold: Fold) -> bool:
        """Publishes the fold's rows and provenance as its partition. Returns False if both are already there.

        Rows that are there already are not written again for the seconds that they took this time.

        Raises:
            SchemaMismatch: the rows are not of the table's schema.
            CommitConflict: another commit came between.
        """
        ...

    def uri(self, table: Table, partition: Partition | None) -> str:
        """Where the partition's rows lie, for people and other tools."""
        ...

    def writer(self, table: Table, partition: Partition | None) -> AbstractContextManager[None]:
        """Held while a run works on a partition, so that no work is done twice at a time. Dies with its process."""
        ...


def check_schema(table: Table, rows: pa.Table) -> None:
    """Raises SchemaMismatch, naming the columns that differ."""
    if rows.schema.equals(table.schema):
        return
    wanted = {field.name: field.type for field in table.schema}
    given = {field.name: field.type for field in rows.schema}
    faults = [f"{name} is missing" for name in wanted if name not in given]
    faults += [f"{name} is not in the table" for name in given if name not in wanted]
    faults += [f"{n} is {given[n]}, not {wanted[n]}" for n in wanted if n in given and given[n] != wanted[n]]
    cause = "; ".join(faults) or "columns are in another order"
    raise SchemaMismatch(f"table {table.name}", f"rows do not fit its schema: {cause}", "Build them by tables.py.")


def fingerprint(table: Table, rows: pa.Table) -> str:
    """A hash of the stable columns, row by row in the order given. Times are hashed as integers."""
    digest = hashlib.sha256()
    for name in table.stable_columns:
        column = rows[name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        digest.update(f"{name}={column.to_pylist()!r}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]

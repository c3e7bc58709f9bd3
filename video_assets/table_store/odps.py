"""Tables in ODPS (MaxCompute), for every stage of the chain. Item records and blobs stay in the object store.

A table is made when it is first committed to. A partition is replaced by an overwriting upload session, whose commit is
one step for every reader. Who may write, and which version a partition has, is decided in the object store: by its
lock, and by `odps_commits`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from video_assets.keys import InvalidId, Partition, partition_root
from video_assets.storage.object_store import ObjectStore
from video_assets.table_store.commit_guard import require_records
from video_assets.table_store.odps_commits import CommitRecord, CommitRecords
from video_assets.table_store.odps_errors import in_words, is_missing, is_passing
from video_assets.table_store.odps_handle import patiently
from video_assets.table_store.odps_schema import (
    NEW_TYPES,
    from_wire,
    missing_columns,
    odps_schema,
    partition_of,
    partition_spec,
    to_wire,
)
from video_assets.table_store.odps_tunnel import BATCH_ROWS, count_rows, download, upload
from video_assets.table_store.provenance import Provenance
from video_assets.table_store.table_store import (
    WRITER_WAIT_S,
    CommitConflict,
    Fold,
    PartitionNotFound,
    SchemaMismatch,
    check_schema,
)
from video_assets.tables import Table

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OdpsTables:
    """A TableStore of MaxCompute tables.

    Args:
        handle: `odps.ODPS`.
        store: the deployment's; locks and commit records are in it.
        name_of: the name of a table in MaxCompute.
        lifecycles: days after which rows go, by table; other tables keep theirs.
    """

    handle: Any = field(repr=False)
    store: ObjectStore
    name_of: Callable[[Table], str] = field(repr=False)
    lifecycles: Mapping[str, int] = field(default_factory=dict)

    def read(self, table: Table, partition: Partition | None) -> pa.Table:
        with self._in_words(table, partition):
            if self._version(table, partition) is None:
                raise self._not_found(table, partition)
            return self._rows(table, partition)

    def version(self, table: Table, partition: Partition | None) -> str | None:
        with self._in_words(table, partition):
            return self._version(table, partition)

    def provenance(self, table: Table, partition: Partition | None) -> Provenance | None:
        with self._in_words(table, partition):
            record = self._record(table, partition)
            if record is None or record.provenance is None:
                return None
            # Rows that something else has written since were made of something else.
            is_current = record.modified == self._modified(table, partition)
            return Provenance.parse(record.provenance) if is_current else None

    def partitions(self, table: Table, date: str | None = None) -> Iterator[Partition]:
        found = []
        with self._in_words(table, None):
            for spec, rows in self._listed(table, date):
                try:
                    partition = partition_of(spec)
                except InvalidId as error:
                    _logger.warning(
                        "ODPS table %s has a partition that is none of ours: %s", self.name_of(table), error
                    )
                    continue
                if rows > 0 or self._is_committed(table, partition, self._record(table, partition)):
                    found.append(partition)
        yield from sorted(found)

    def commit(self, fold: Fold) -> bool:
        check_schema(fold.table, fold.rows)
        table, partition, place = fold.table, fold.partition, self._place(fold.table)
        commits = CommitRecords(self.store)
        with self.writer(table, partition), self._in_words(table, partition):
            version = self._version(table, partition)
            has_rows = version is not None and self._holds(fold)
            if has_rows and self.provenance(table, partition) == fold.provenance:
                return False
            if version != fold.base:
                raise CommitConflict(
                    f"table {table.name}, partition {partition}",
                    "was committed by another run since this run read it",
                    "Run it again: what this run made is kept and not made again.",
                )
            require_records(self.store, fold)
            make_table(self.handle, self.name_of(table), table, self.lifecycles.get(table.name))
            commits.begin(table, partition, place, committed=version is not None)
            if not has_rows:
                rows = to_wire(fold.ordered)
                spec = partition_spec(partition) if partition else None
                upload(self.handle, self.name_of(table), spec, rows.to_batches(BATCH_ROWS), rows.schema)
            modified = self._modified(table, partition)
            assert modified is not None
            commits.finish(table, partition, place, modified, fold.provenance)
        return True

    def uri(self, table: Table, partition: Partition | None) -> str:
        spec = "" if partition is None else "/" + partition_spec(partition).replace("'", "").replace(",", "/")
        return f"odps://{self._place(table)}{spec}"

    def writer(
        self, table: Table, partition: Partition | None, *, wait_s: float = WRITER_WAIT_S
    ) -> AbstractContextManager[None]:
        return self.store.lock(partition_root(table.name, partition).rstrip("/"), timeout_s=wait_s)

    def _place(self, table: Table) -> str:
        return f"{self.handle.project}/{self.name_of(table)}"

    def _record(self, table: Table, partition: Partition | None) -> CommitRecord | None:
        return CommitRecords(self.store).read(table, partition, self._place(table))

    def _version(self, table: Table, partition: Partition | None) -> str | None:
        modified = self._modified(table, partition)
        if modified is None:
            return None
        record = self._record(table, partition)
        if not self._is_committed(table, partition, record):
            return None
        return f"{record.version if record else 'foreign'}.{modified}"

    def _is_committed(self, table: Table, partition: Partition | None, record: CommitRecord | None) -> bool:
        """A partition that is there and has rows is committed, whoever did it; an empty one if we know that we did."""
        if record is not None and record.committed:
            return True
        spec = partition_spec(partition) if partition else None
        return count_rows(self.handle, self.name_of(table), spec) > 0

    def _modified(self, table: Table, partition: Partition | None) -> int | None:
        """When MaxCompute says that the rows last changed, in seconds since 1970; None where they are not there."""
        found = self.handle.get_table(self.name_of(table))
        if partition is not None:
            found = found.get_partition(partition_spec(partition))
        try:
            patiently(found.reload)
        except Exception as error:
            if is_missing(error):
                return None
            if partition is not None and not is_passing(error):
                self._require_ours(table)
            raise
        modified = found.last_data_modified_time or found.creation_time
        return int(modified.timestamp())

    def _require_ours(self, table: Table) -> None:
        """Raises SchemaMismatch where a table of this name is none of ours: of a view, no partition can be asked."""
        found = self.handle.get_table(self.name_of(table))
        patiently(found.reload)
        missing_columns(table, found, self.name_of(table))

    def _listed(self, table: Table, date: str | None) -> list[tuple[dict[str, str], int]]:
        """The partitions that MaxCompute has, with how many rows each has (below 0: unknown)."""
        found = self.handle.get_table(self.name_of(table))
        spec = partition_spec(Partition(date)) if date else None
        try:
            listed = patiently(lambda: list(found.iterate_partitions(spec)))
        except Exception as error:
            if is_missing(error):
                return []
            raise
        return [(dict(one.partition_spec.kv), -1 if one.record_num is None else one.record_num) for one in listed]

    def _holds(self, fold: Fold) -> bool:
        try:
            return bool(self._rows(fold.table, fold.partition).equals(fold.ordered))
        except SchemaMismatch:
            return False

    def _rows(self, table: Table, partition: Partition | None) -> pa.Table:
        name, spec = self.name_of(table), partition_spec(partition) if partition else None
        try:
            rows = download(self.handle, name, spec)
        except Exception as error:
            # The lifecycle, or a person, took it since we looked.
            if is_missing(error):
                raise self._not_found(table, partition) from None
            raise
        try:
            rows = from_wire(table, rows)
        except (pa.ArrowException, ValueError) as error:
            remedy = "It was changed from outside: drop it, and materialize the partition again."
            raise SchemaMismatch(f"ODPS table {name}", f"has other types than {table.name}: {error}", remedy) from None
        # MaxCompute keeps no order.
        return rows.sort_by([(key, "ascending") for key in table.key])

    def _not_found(self, table: Table, partition: Partition | None) -> PartitionNotFound:
        return PartitionNotFound(
            f"table {table.name}, partition {partition}",
            "was never materialized",
            f"Materialize the asset {table.name} for this partition first.",
        )

    def _in_words(self, table: Table, partition: Partition | None) -> AbstractContextManager[None]:
        return in_words(f"ODPS table {self.name_of(table)}, partition {partition}", self.handle)


def make_table(handle: Any, name: str, table: Table, lifecycle: int | None) -> None:
    """Makes a table of MaxCompute where it is missing, and adds the columns that it lacks.

    Raises:
        SchemaMismatch: it is a view, or has other columns.
    """
    found = handle.get_table(name)
    try:
        patiently(found.reload)
    except Exception as error:
        if not is_missing(error):
            raise
        described = {"comment": table.description, "lifecycle": lifecycle, "hints": dict(NEW_TYPES)}
        patiently(lambda: handle.create_table(name, odps_schema(table), if_not_exists=True, **described))
        # Someone else may have been faster, with another table.
        patiently(found.reload)
    missing = missing_columns(table, found, name)
    if missing:
        _add_columns(found, table, name, missing)


def _add_columns(found: Any, table: Table, name: str, missing: list[Any]) -> None:
    from odps.errors import ODPSError

    try:
        found.add_columns(missing, hints=dict(NEW_TYPES))
    except ODPSError:
        # Another run may have added them.
        found.reload()
        if missing_columns(table, found, name):
            raise

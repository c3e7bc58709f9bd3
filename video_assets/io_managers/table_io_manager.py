"""Commits what an asset returns, and loads what the next one reads: partition by partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import dagster as dg
import pyarrow as pa

from video_assets.keys import Partition
from video_assets.table_store.odps_errors import OdpsUnavailable
from video_assets.table_store.table_store import CommitConflict, Fold, TableStore
from video_assets.tables import BY_NAME, Table


@dataclass(frozen=True, slots=True)
class Upstream:
    """The partitions of a table that a run may read, one or several. Nothing is read before `read` is called, so that
    a run which had to wait for another reads what that one left.
    """

    tables: TableStore
    table: Table
    keys: tuple[str, ...]

    def read(self, key: str) -> pa.Table:
        """A partition's rows.

        Raises:
            PartitionNotFound: it was never committed: unknown, not empty.
            KeyError: it is not of this run.
        """
        if key not in self.keys:
            raise KeyError(key)
        return self.tables.read(self.table, Partition.from_key(key))

    def reader(self, key: str) -> Callable[[], pa.Table]:
        """`read` of this key, for later."""
        return partial(self.read, key)


class TableIOManager(dg.IOManager):
    """Folds in, tables out; for one partition or a range alike.

    An asset returns a mapping from partition key to `Fold`, and receives an `Upstream`; each has one key in a run of
    one partition, so that no asset has to tell the cases apart.
    """

    def __init__(self, tables: TableStore) -> None:
        self._tables = tables

    def handle_output(self, context: dg.OutputContext, obj: Mapping[str, Fold]) -> None:
        """Commits each partition in the order of keys. A run that made fewer than it was asked for fails."""
        wanted = set(context.asset_partition_keys) if context.has_asset_partitions else set(obj)
        if missing := sorted(wanted - obj.keys()):
            raise dg.DagsterInvariantViolationError(f"{context.asset_key}: no rows for {', '.join(missing)}")
        for key in sorted(obj):
            try:
                self._tables.commit(obj[key])
            except CommitConflict as error:
                # The step reads anew what the other run committed, and finds its own work done.
                raise dg.RetryRequested(max_retries=3) from error
            except OdpsUnavailable as error:
                # What the items made is kept: another try only commits.
                raise dg.RetryRequested(max_retries=3, seconds_to_wait=20) from error

    def load_input(self, context: dg.InputContext) -> Upstream:
        """The upstream table's partitions, read when they are asked for."""
        table = BY_NAME[context.asset_key.path[-1]]
        return Upstream(self._tables, table, tuple(sorted(context.asset_partition_keys)))

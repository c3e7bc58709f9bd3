"""Commits what an asset returns, and loads what the next one reads: partition by partition."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import pyarrow as pa

from video_assets.keys import Partition
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import BY_NAME


class TableIOManager(dg.IOManager):
    """Folds in, tables out; for one partition or a range alike.

    An asset returns a mapping from partition key to `Fold`, and receives one from partition key to Arrow table, with
    one entry for a run of one partition: no asset has to tell the cases apart.
    """

    def __init__(self, tables: TableStore) -> None:
        self._tables = tables

    def handle_output(self, context: dg.OutputContext, obj: Mapping[str, Fold]) -> None:
        """Commits each partition in the order of keys. A run that made fewer than it was asked for fails."""
        wanted = set(context.asset_partition_keys) if context.has_asset_partitions else set(obj)
        if missing := sorted(wanted - obj.keys()):
            raise dg.DagsterInvariantViolationError(f"{context.asset_key}: no rows for {', '.join(missing)}")
        for key in sorted(obj):
            self._tables.commit(obj[key])

    def load_input(self, context: dg.InputContext) -> Mapping[str, pa.Table]:
        """The upstream table's partitions; one that was never committed is an error, not an empty table."""
        table = BY_NAME[context.asset_key.path[-1]]
        keys = sorted(context.asset_partition_keys)
        return {key: self._tables.read(table, Partition.from_key(key)) for key in keys}

"""`fleet_daily`: the day over all vehicles, for plots and reports."""

from typing import Any

import dagster as dg
import pyarrow.compute as pc

from video_assets.defs.assets.table_asset import Made, declare, materialize
from video_assets.defs.automation import ROLL_UP_ON_NEW_DATA
from video_assets.defs.partitions import dates
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.fleet_daily import CODE_VERSION, roll_up
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import FLEET_DAILY


@dg.asset(
    **declare(
        FLEET_DAILY, code_version=CODE_VERSION, kinds={"parquet"}, partitions_def=dates, condition=ROLL_UP_ON_NEW_DATA
    ),
    # Its parents' tables are read as far as they exist: on most days some vehicle sends nothing.
    deps=["video_manifest", "clips", "frames", "embeddings"],
)
def fleet_daily(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
):
    def make(partition: Partition) -> Made:
        fold = roll_up(partition, tables=tables)
        return Made(fold, {"vehicles": len(fold.rows), **_totals(fold)})

    return materialize(context, settings, tables, make)


def _totals(fold: Fold) -> dict[str, Any]:
    names = ("videos", "clips", "frames", "embeddings", "failed", "filtered", "source_bytes", "clip_seconds")
    totals = {name: pc.sum(fold.rows[name]).as_py() or 0 for name in names}
    return {**totals, "bytes": totals.pop("source_bytes")}

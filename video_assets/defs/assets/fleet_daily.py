"""`fleet_daily`: the day over all vehicles, for plots and reports."""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from video_assets.defs.assets.table_asset import Made, Making, declare, materialize
from video_assets.defs.automation import ROLL_UP_ON_NEW_DATA
from video_assets.defs.partitions import dates
from video_assets.settings import Settings
from video_assets.stages.fleet_daily import CODE_VERSION, roll_up
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import FLEET_DAILY


def make_fleet_daily(making: Making) -> Made:
    fold = roll_up(making.partition, tables=making.tables, settings=making.settings)
    return Made(fold, _numbers(fold))


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
    return materialize(context, settings, tables, make_fleet_daily)


def _numbers(fold: Fold) -> dict[str, float]:
    """What the UI plots by day. A vehicle of which nothing came is not counted."""
    names = [column.name for column in FLEET_DAILY.columns if pa.types.is_integer(column.type) and not column.volatile]
    totals = {name: pc.sum(fold.rows[name]).as_py() or 0 for name in (*names, "clip_seconds", "seconds_spent")}
    seen = pc.sum(pc.greater(fold.rows["videos"], 0)).as_py() or 0
    hours = round(totals["clip_seconds"] / 3600, 4)
    return {"vehicles": seen, "hours": hours, **totals, "bytes": totals.pop("source_bytes")}

"""`clips`: bytes in hand."""

import dagster as dg
import pyarrow.compute as pc

from video_assets.defs.assets.table_asset import Made, Making, declare, materialize
from video_assets.defs.automation import REFRESH_ON_NEW_DATA
from video_assets.defs.checks import item_checks, item_results
from video_assets.defs.partitions import date_by_vehicle
from video_assets.io_managers.table_io_manager import Upstream
from video_assets.settings import Settings
from video_assets.stages.clips import CODE_VERSION, build_clips
from video_assets.table_store.table_store import TableStore
from video_assets.tables import CLIPS, OK


def make_clips(making: Making) -> Made:
    fold = build_clips(
        making.partition, making.upstream, tables=making.tables, settings=making.settings, report=making.log.info
    )
    numbers = {"clips": fold.count(OK), "bytes": pc.sum(fold.rows["size_bytes"]).as_py() or 0}
    return Made(fold, numbers, item_results(fold, making.settings))


@dg.asset(
    **declare(
        CLIPS,
        code_version=CODE_VERSION,
        kinds={"parquet", "video"},
        partitions_def=date_by_vehicle,
        condition=REFRESH_ON_NEW_DATA,
        pool="source",
    ),
    check_specs=item_checks(CLIPS),
)
def clips(
    context: dg.AssetExecutionContext,
    video_manifest: Upstream,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
):
    return materialize(context, settings, tables, make_clips, video_manifest)

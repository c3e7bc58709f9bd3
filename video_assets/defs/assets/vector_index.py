"""`vector_index`: vectors as points that search finds."""

import dagster as dg
import pyarrow.compute as pc

from video_assets.defs.assets.table_asset import Made, Making, declare, materialize
from video_assets.defs.automation import REFRESH_ON_NEW_DATA
from video_assets.defs.checks import points_check, points_result, uniqueness_check, uniqueness_result
from video_assets.defs.partitions import date_by_vehicle
from video_assets.io_managers.table_io_manager import Upstream
from video_assets.settings import Settings
from video_assets.stages.vector_index import CODE_VERSION, build_index
from video_assets.table_store.table_store import TableStore
from video_assets.tables import VECTOR_INDEX


def make_vector_index(making: Making) -> Made:
    fold = build_index(
        making.partition,
        making.upstream,
        tables=making.tables,
        settings=making.settings,
        report=making.log.info,
        index=making.index,
    )
    checks = [uniqueness_result(fold), points_result(fold)]
    return Made(fold, {"points": pc.sum(fold.rows["points"]).as_py() or 0}, checks)


@dg.asset(
    **declare(
        VECTOR_INDEX,
        code_version=CODE_VERSION,
        kinds={"qdrant", "parquet"},
        partitions_def=date_by_vehicle,
        condition=REFRESH_ON_NEW_DATA,
        pool="index",
    ),
    check_specs=[uniqueness_check(VECTOR_INDEX), points_check()],
)
def vector_index(
    context: dg.AssetExecutionContext,
    embeddings: Upstream,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
):
    return materialize(context, settings, tables, make_vector_index, embeddings)

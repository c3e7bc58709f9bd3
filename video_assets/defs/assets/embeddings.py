"""`embeddings`: frames as unit vectors."""

import dagster as dg

from video_assets.defs.assets.table_asset import Made, Making, declare, materialize
from video_assets.defs.automation import REFRESH_ON_NEW_DATA
from video_assets.defs.checks import item_checks, item_results
from video_assets.defs.partitions import date_by_vehicle
from video_assets.defs.resources import deployment
from video_assets.io_managers.table_io_manager import Upstream
from video_assets.settings import Settings
from video_assets.stages.embeddings import build_embeddings, code_version
from video_assets.table_store.table_store import TableStore
from video_assets.tables import EMBEDDINGS, OK


def make_embeddings(making: Making) -> Made:
    settings = making.settings
    fold = build_embeddings(
        making.partition, making.upstream, tables=making.tables, settings=settings, report=making.log.info
    )
    return Made(fold, {"vectors": fold.count(OK)}, item_results(fold, settings, settings.embed_models))


@dg.asset(
    **declare(
        EMBEDDINGS,
        code_version=code_version(deployment()[0].embed_models),
        kinds={"parquet", "onnx"},
        partitions_def=date_by_vehicle,
        condition=REFRESH_ON_NEW_DATA,
        pool="model",
    ),
    check_specs=item_checks(EMBEDDINGS),
)
def embeddings(
    context: dg.AssetExecutionContext,
    frames: Upstream,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
):
    return materialize(context, settings, tables, make_embeddings, frames)

"""`frames`: sampled frames, with a contact sheet."""

import base64
from typing import Any

import dagster as dg
import pyarrow.compute as pc

from video_assets.defs.assets.table_asset import Made, declare, materialize
from video_assets.defs.automation import REFRESH_ON_NEW_DATA
from video_assets.defs.checks import item_checks, item_results
from video_assets.defs.partitions import date_by_vehicle
from video_assets.errors import VideoAssetsError
from video_assets.io_managers.table_io_manager import Upstream
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.frames import CODE_VERSION, build_frames, draw_contact_sheet
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import FRAMES, OK


@dg.asset(
    **declare(
        FRAMES,
        code_version=CODE_VERSION,
        kinds={"parquet", "jpeg"},
        partitions_def=date_by_vehicle,
        condition=REFRESH_ON_NEW_DATA,
        pool="decode",
    ),
    check_specs=item_checks(FRAMES),
)
def frames(
    context: dg.AssetExecutionContext,
    clips: Upstream,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
):
    def make(partition: Partition) -> Made:
        upstream = clips.reader(partition.key)
        fold = build_frames(partition, upstream, tables=tables, settings=settings, report=context.log.info)
        numbers = {
            "frames": fold.count(OK),
            "bytes": pc.sum(fold.rows["image_size_bytes"]).as_py() or 0,
            "decode_errors": pc.sum(fold.rows["decode_errors"]).as_py() or 0,
            "bytes_read": fold.bytes_read,
            "bytes_total": fold.bytes_total,
        }
        checks = item_results(fold, settings)
        return Made(fold, numbers, checks, _preview(fold))

    return materialize(context, settings, tables, make)


def _preview(fold: Fold) -> dict[str, dg.MetadataValue[Any]]:
    """The contact sheet, small enough for the event log."""
    try:
        sheet = draw_contact_sheet({fold.partition: fold.rows} if fold.partition else {})
    except VideoAssetsError as error:
        # It decorates; the rows are what counts.
        return {"contact_sheet": dg.MetadataValue.md(f"No contact sheet: {error}")}
    if sheet is None:
        return {}
    return {
        "contact_sheet": dg.MetadataValue.md(f"![frames](data:image/jpeg;base64,{base64.b64encode(sheet).decode()})")
    }

"""`fleet_windows`: what a fleet's batch API has of a vehicle's day, where VIDEO_ASSETS_FLEET_VEHICLES asks for it."""

import base64
from functools import partial
from typing import Any

import dagster as dg
import pyarrow.compute as pc
from pydantic import Field

from video_assets.defs.assets.table_asset import Made, Making, declare, materialize
from video_assets.defs.checks import answers_check, answers_result, uniqueness_check, uniqueness_result
from video_assets.defs.partitions import date_by_vehicle
from video_assets.settings import Settings, SettingsError
from video_assets.sources.fleet.errors import FleetStopped
from video_assets.sources.fleet.windows import InvalidWindows
from video_assets.stages.fleet_windows import CODE_VERSION, AskedDay, ask_for_day, counts_of, draw_availability
from video_assets.stages.items import StageStopped
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import FLEET_WINDOWS


class AskFleet(dg.Config):
    """How a run asks."""

    download: bool = Field(True, description="False: only find out which windows have footage.")
    sparse: bool = Field(False, description="Leave windows within 5 minutes after one without footage unasked.")


def make_fleet_windows(making: Making, config: AskFleet) -> Made:
    try:
        asked = ask_for_day(
            making.partition,
            tables=making.tables,
            settings=making.settings,
            report=making.log.info,
            download=config.download,
            sparse=config.sparse,
        )
    except (FleetStopped, InvalidWindows, SettingsError) as error:
        # Another try would end the same.
        raise dg.Failure(str(error), allow_retries=False) from error
    making.log.info(f"windows: {asked.result}")
    if asked.refusal:
        making.log.warning(f"{asked.refusal} What is in the store stays as it is.")
    _stop(asked, making.tables)
    fold = asked.fold
    return Made(
        fold, _numbers(asked), [uniqueness_result(fold), answers_result(fold)], _heat_map(fold, making.settings)
    )


@dg.asset(
    **declare(
        FLEET_WINDOWS, code_version=CODE_VERSION, kinds={"parquet"}, partitions_def=date_by_vehicle, pool="fleet"
    ),
    check_specs=[uniqueness_check(FLEET_WINDOWS), answers_check()],
)
def fleet_windows(
    context: dg.AssetExecutionContext,
    config: AskFleet,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
):
    return materialize(context, settings, tables, partial(make_fleet_windows, config=config))


def _stop(asked: AskedDay, tables: TableStore) -> None:
    """Ends a run that could not ask for all. What is done is committed first, so that it shows."""
    if not asked.result.stopped:
        return
    tables.commit(asked.fold)
    if asked.result.is_away:
        raise StageStopped("fleet's batch API", asked.result.stopped.rstrip("."))
    raise dg.Failure(asked.result.stopped, allow_retries=False)


def _numbers(asked: AskedDay) -> dict[str, float]:
    states = counts_of(asked.fold)
    return {
        "windows": states.total(),
        "available": states["saved"] + states["available"],
        **{state: states[state] for state in ("saved", "missing", "unknown")},
        "asked": asked.fold.made,
        "bytes": pc.sum(asked.fold.rows["size_bytes"]).as_py() or 0,
    }


def _heat_map(fold: Fold, settings: Settings) -> dict[str, dg.MetadataValue[Any]]:
    assert fold.partition is not None
    image = draw_availability(fold.partition, fold.rows, settings)
    if image is None:
        return {}
    text = base64.b64encode(image).decode()
    return {"availability": dg.MetadataValue.md(f"![availability](data:image/png;base64,{text})")}

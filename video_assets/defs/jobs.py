"""The jobs that runs are of, so that a list of runs says what each one is."""

from __future__ import annotations

import dagster as dg

from video_assets.defs.resources import deployment
from video_assets.tables import CHAIN, FLEET_DAILY, FLEET_WINDOWS, UNMATCHED

CHAIN_ASSETS = tuple(table.name for table in CHAIN)

CATALOGUE_FLAGS = "catalogue_flags"
"""The asset that writes back to a catalogue, where there is one."""

chain_job = dg.define_asset_job(
    "chain",
    selection=[*CHAIN_ASSETS, *([CATALOGUE_FLAGS] if deployment()[0].catalogue_url is not None else [])],
    description="From the uploads of a vehicle's day to points that search finds.",
)
fleet_job = dg.define_asset_job(
    "ask_fleet",
    selection=[FLEET_WINDOWS.name, *CHAIN_ASSETS],
    description="Asks a fleet's batch API for a vehicle's day, and runs the chain over what it gave.",
)
unmatched_job = dg.define_asset_job(
    "list_unmatched", selection=[UNMATCHED.name], description="Lists the videos that belong to no vehicle or day."
)
fleet_daily_job = dg.define_asset_job(
    "roll_up_day", selection=[FLEET_DAILY.name], description="Counts the fleet's day over all vehicles."
)

"""The uploads themselves: outside Dagster, known by what the sensors report of them."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from video_assets.defs.assets.table_asset import OWNERS
from video_assets.defs.partitions import GROUP, date_by_vehicle
from video_assets.defs.resources import deployment

_silent_after = timedelta(hours=deployment()[0].silent_after_h)

raw_uploads = dg.AssetSpec(
    "raw_uploads",
    description="Videos as vehicles upload them, in VIDEO_ASSETS_SOURCE. Never written to.",
    partitions_def=date_by_vehicle,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"video"},
    tags={"domain": "fleet-video"},
    # Of the whole fleet: it goes by the latest upload of any vehicle. Single vehicles have a check.
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=_silent_after, warn_window=_silent_after / 2),
)

"""The uploads themselves: outside Dagster, known by what the sensors report of them."""

from __future__ import annotations

import dagster as dg

from video_assets.defs.assets.table_asset import OWNERS
from video_assets.defs.partitions import GROUP, date_by_vehicle

raw_uploads = dg.AssetSpec(
    "raw_uploads",
    description="Videos as vehicles upload them, in VIDEO_ASSETS_SOURCE. Never written to.",
    partitions_def=date_by_vehicle,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"video"},
    tags={"domain": "fleet-video"},
)

"""Date × vehicle, imported by everything that is partitioned.

Keys read `2026-01-03|veh-7`. The matrix is sparse: a day on which a vehicle sent nothing is an empty table. Dagster
stays quick up to about 50,000 partitions an asset (137 vehicles for a year): move VIDEO_ASSETS_START_DATE on as time
goes; tables of earlier days stay readable and searchable outside Dagster's window.
"""

from __future__ import annotations

import dagster as dg

from video_assets.settings import load_settings

GROUP = "video"
"""The asset group of the chain."""

_settings = load_settings()

dates = dg.DailyPartitionsDefinition(
    start_date=_settings.start_date.isoformat(),
    timezone=_settings.timezone,
    # Uploads of today arrive today.
    end_offset=1,
)
vehicles = dg.DynamicPartitionsDefinition(name="vehicle")
date_by_vehicle = dg.MultiPartitionsDefinition({"date": dates, "vehicle": vehicles})

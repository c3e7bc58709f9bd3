"""The code location: merges what `defs/` declares."""

from __future__ import annotations

import dagster as dg

from video_assets.defs.assets.catalogue_flags import catalogue_flags
from video_assets.defs.assets.clips import clips
from video_assets.defs.assets.embeddings import embeddings
from video_assets.defs.assets.flat_manifest import flat_manifest
from video_assets.defs.assets.fleet_daily import fleet_daily
from video_assets.defs.assets.fleet_windows import fleet_windows
from video_assets.defs.assets.frames import frames
from video_assets.defs.assets.raw_uploads import raw_uploads
from video_assets.defs.assets.vector_index import vector_index
from video_assets.defs.assets.video_manifest import unmatched, video_manifest
from video_assets.defs.audits import blob_checks, silence_check, silence_job, silence_schedule
from video_assets.defs.automation import refresh_sensor
from video_assets.defs.catalogue import catalogue_sensor
from video_assets.defs.fleet import fleet_schedule
from video_assets.defs.garbage import garbage_job, garbage_schedule
from video_assets.defs.jobs import chain_job, fleet_daily_job, fleet_job, unmatched_job
from video_assets.defs.packed import packed_job
from video_assets.defs.reconciler import reconciler
from video_assets.defs.resources import deployment, resources
from video_assets.defs.sensors import upload_sensor

settings, _ = deployment()
has_fleet, has_catalogue = settings.has_fleet, settings.catalogue_url is not None
on_request: list[dg.AssetsDefinition] = [flat_manifest] if settings.flat_table else []
on_request += [fleet_windows] if has_fleet else []
on_request += [catalogue_flags] if has_catalogue else []

defs = dg.Definitions(
    assets=[raw_uploads, video_manifest, unmatched, clips, frames, embeddings, vector_index, fleet_daily, *on_request],
    asset_checks=[*blob_checks, silence_check],
    resources=resources(),
    jobs=[
        *(chain_job, unmatched_job, fleet_daily_job, packed_job, silence_job, garbage_job),
        *([fleet_job] if has_fleet else []),
    ],
    schedules=[silence_schedule, garbage_schedule, *([fleet_schedule] if has_fleet else [])],
    sensors=[upload_sensor, refresh_sensor, reconciler, *([catalogue_sensor] if has_catalogue else [])],
    # Parallelism belongs to work/, over items; a subprocess for each step would only cost its start.
    executor=dg.in_process_executor,
)

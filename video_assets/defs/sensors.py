"""The upload sensor: new, overwritten, restored and deleted uploads become runs of the whole chain."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg

from video_assets.defs.jobs import chain_job, unmatched_job
from video_assets.defs.launch import UploadHistory, upload_event
from video_assets.defs.partitions import vehicles
from video_assets.defs.resources import deployment
from video_assets.sources.upload_scan.turns import vehicle_of
from video_assets.stages.upload_watch import Limits, Tick, UploadWatch
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.registry import open_store
from video_assets.table_store.odps_errors import OdpsUnavailable

MAX_QUEUED_RUNS = 200
"""While so many runs of the chain wait, no more are asked for: the sensor's memory holds a backlog better than
Dagster's queue, which looks at every run it holds at every turn."""


@dg.sensor(
    name="uploads",
    jobs=[chain_job, unmatched_job],
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Looks for new, changed and deleted uploads, adds vehicles, runs the chain for their partitions, and "
    "lists what is unmatched.",
)
def upload_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    settings, tables = deployment()
    if not settings.has_source:
        asked = " A fleet's batch API is asked by its own schedule." if settings.has_fleet else ""
        return dg.SkipReason(f"VIDEO_ASSETS_SOURCE is not set, so there is nothing to look at.{asked}")
    if settings.catalogue_url is not None:
        return dg.SkipReason("VIDEO_ASSETS_CATALOGUE_URL is set: the sensor `catalogue` looks for new records.")
    queued = queued_runs(context.instance)
    limits = Limits()
    limits = replace(limits, runs=max(0, min(limits.runs, MAX_QUEUED_RUNS - queued)))
    watch = UploadWatch(settings, tables, open_store(settings.store), UploadHistory(context.instance), limits)
    try:
        tick = watch.tick(context.cursor)
    except (StoreUnavailable, OdpsUnavailable) as error:
        # The cursor stays as it was: what comes back unchanged is no news.
        return dg.SkipReason(f"Nothing is known of the source at this time. {error}")
    text = tick.text + (f"; {queued} runs are queued, so no more are asked for" if not limits.runs else "")
    for line in (text, *tick.lines):
        context.log.info(line)
    if not tick.changes and tick.unmatched_run_key is None:
        return dg.SensorResult(skip_reason=dg.SkipReason(text), cursor=tick.cursor)
    return _result(tick)


def _result(tick: Tick) -> dg.SensorResult:
    names = sorted({vehicle_of(change.partition_key) for change in tick.changes})
    unmatched = [dg.RunRequest(tick.unmatched_run_key, job_name=unmatched_job.name)] if tick.unmatched_run_key else []
    return dg.SensorResult(
        run_requests=[
            *(dg.RunRequest(c.run_key, job_name=chain_job.name, partition_key=c.partition_key) for c in tick.changes),
            *unmatched,
        ],
        dynamic_partitions_requests=[vehicles.build_add_request(names)] if names else [],
        asset_events=[
            upload_event(c.partition_key, c.fingerprint, tick.scans[c.partition_key], c.generation)
            for c in tick.changes
        ],
        cursor=tick.cursor,
    )


def queued_runs(instance: dg.DagsterInstance) -> int:
    """How many runs of the chain wait."""
    waiting = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
    return instance.get_runs_count(dg.RunsFilter(job_name=chain_job.name, statuses=waiting))

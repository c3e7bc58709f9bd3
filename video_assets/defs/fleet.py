"""The schedule that asks a fleet's batch API, where VIDEO_ASSETS_FLEET_VEHICLES names vehicles."""

from __future__ import annotations

import dagster as dg

from video_assets.defs.jobs import fleet_job
from video_assets.defs.partitions import vehicles
from video_assets.defs.resources import deployment
from video_assets.stages.fleet_windows import newest_partitions


@dg.schedule(
    name="ask_fleet",
    job=fleet_job,
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every day at 0:30 UTC: each vehicle's newest day that ended before 00:00 UTC. A backfill of the job "
    "asks for older days.",
)
def fleet_schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    settings, _ = deployment()
    partitions = newest_partitions(settings, context.scheduled_execution_time)
    if not partitions:
        return dg.SkipReason(f"The newest day is before VIDEO_ASSETS_START_DATE={settings.start_date}.")
    context.instance.add_dynamic_partitions(str(vehicles.name), [str(p.vehicle) for p in partitions])
    return [dg.RunRequest(f"ask_fleet:{p.key}", partition_key=p.key) for p in partitions]

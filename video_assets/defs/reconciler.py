"""The reconciler's sensor: what is stale or missing though nothing runs for it is asked for again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from video_assets.defs.jobs import chain_job, fleet_daily_job
from video_assets.defs.packed import packed_job, packed_keys
from video_assets.defs.partitions import dates, vehicles
from video_assets.defs.resources import deployment
from video_assets.defs.uploads_seen import seen_uploads
from video_assets.keys import Partition
from video_assets.plural import counted
from video_assets.stages.reconcile import Reconciler, Request, Tick
from video_assets.stages.reconcile_cursor import ReconcileCursor
from video_assets.stages.staleness import recipes
from video_assets.storage.object_store import StoreUnavailable
from video_assets.table_store.odps_errors import OdpsUnavailable

PARTITION_TAG = "dagster/partition"
REASON_TAG = "video_assets/reason"


@dg.sensor(
    name="reconciler",
    jobs=[chain_job, fleet_daily_job],
    default_status=dg.DefaultSensorStatus.RUNNING,
    # A safety net: what it mends was dropped by what ticks every 30 s, and it waits a tick to let those come first.
    minimum_interval_seconds=600,
    description="Compares what every partition was made of with what there is now, and makes again what is stale or "
    "missing and was dropped by the other sensors. Says what it has asked for in vain.",
)
def reconciler(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    settings, tables = deployment()
    cursor = ReconcileCursor.parse(context.cursor)
    known = context.instance.get_dynamic_partitions(str(vehicles.name))
    search = Reconciler(
        tables,
        recipes(settings),
        days=dates.get_partition_keys(),
        vehicles=known,
        uploads=lambda partitions: seen_uploads(context.instance, partitions),
        is_running=_running(context.instance),
    )
    try:
        tick = search.tick(cursor)
    except (StoreUnavailable, OdpsUnavailable) as error:
        return dg.SkipReason(f"The store cannot be read. {error}")
    text = _text(tick, cursor)
    context.log.info(text)
    if not tick.requests:
        return dg.SensorResult(skip_reason=dg.SkipReason(text), cursor=cursor.dump())
    new = sorted({r.partition.vehicle for r in tick.requests if r.partition.vehicle} - set(known))
    return dg.SensorResult(
        run_requests=[_run_request(request) for request in tick.requests],
        dynamic_partitions_requests=[vehicles.build_add_request(new)] if new else [],
        cursor=cursor.dump(),
    )


def _running(instance: dg.DagsterInstance) -> Callable[[Partition], bool]:
    """Asks the instance for each partition that is not up to date: there are few, and there may be many runs.

    A packed run has many partitions, and few are under way at a time.
    """

    @cache
    def packed() -> set[str]:
        runs = instance.get_runs(dg.RunsFilter(job_name=packed_job.name, statuses=NOT_FINISHED_STATUSES))
        return {key for run in runs for key in packed_keys(run.run_config)}

    def is_running(partition: Partition) -> bool:
        mine = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES, tags={PARTITION_TAG: partition.key})
        return instance.get_runs_count(mine) > 0 or partition.key in packed()

    return is_running


def _run_request(request: Request) -> dg.RunRequest:
    job = chain_job if request.partition.vehicle else fleet_daily_job
    return dg.RunRequest(
        request.run_key,
        job_name=job.name,
        partition_key=request.partition.key,
        asset_selection=[dg.AssetKey(stage) for stage in request.stages],
        tags={REASON_TAG: request.reason[:200]},
    )


def _text(tick: Tick, cursor: ReconcileCursor) -> str:
    """For example `12 partitions looked at; 2 asked for, 1 is running; given up: 2026-01-05|veh-1`."""
    parts = [f"{counted(tick.looked_at, 'partition')} looked at{', all there are' if tick.whole else ''}"]
    if tick.requests:
        parts.append(f"{len(tick.requests)} asked for")
    if tick.running:
        parts.append(f"{tick.running} running")
    if waiting := len(cursor.waiting) - len(tick.requests) - tick.running:
        parts.append(f"{waiting} not up to date, to be asked for if the next tick finds the same")
    if given_up := cursor.given_up:
        more = f" and {len(given_up) - 5} more" if len(given_up) > 5 else ""
        parts.append(
            f"asked for in vain {', '.join(given_up[:5])}{more}: read their last runs, and `video-assets status`"
        )
    return "; ".join(parts)

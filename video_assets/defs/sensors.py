"""The upload sensor: new, overwritten, restored and deleted uploads become runs of the whole chain."""

from __future__ import annotations

import dagster as dg

from video_assets.defs.jobs import chain_job, unmatched_job
from video_assets.defs.launch import upload_event
from video_assets.defs.partitions import vehicles
from video_assets.defs.resources import deployment
from video_assets.keys import Partition
from video_assets.plural import counted
from video_assets.sources.listing import Listing
from video_assets.sources.upload_cursor import UploadCursor
from video_assets.stages.manifest import manifest_scan, open_listing
from video_assets.storage.object_store import StoreUnavailable
from video_assets.table_store.table_store import TableStore

MAX_RUNS_PER_TICK = 50
"""More wait for the next tick: a sensor has 60 seconds."""


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
        return dg.SkipReason("VIDEO_ASSETS_SOURCE is not set, so there is nothing to look at.")
    try:
        listing = open_listing(settings, with_files=True)
        scans = {partition.key: scan for partition, scan in listing.scans().items()}
    except StoreUnavailable as error:
        # The cursor stays as it was: what comes back unchanged is no news.
        return dg.SkipReason(f"The source cannot be read. {error}")
    cursor = UploadCursor.parse(context.cursor)
    changes, left = cursor.take_changes(
        {key: scan.fingerprint for key, scan in scans.items()},
        MAX_RUNS_PER_TICK,
        already=lambda key: _in_manifest(key, listing, tables),
    )
    unmatched_run_key = cursor.take_unmatched(listing.unmatched_fingerprint())
    text = _tick_text(sum(scan.videos for scan in scans.values()), len(changes), left, listing)
    for line in (text, *listing.named_examples()):
        context.log.info(line)
    if not changes and unmatched_run_key is None:
        return dg.SensorResult(skip_reason=dg.SkipReason(text), cursor=cursor.dump())
    names = sorted({str(Partition.from_key(change.partition_key).vehicle) for change in changes})
    return dg.SensorResult(
        run_requests=[
            *(dg.RunRequest(c.run_key, job_name=chain_job.name, partition_key=c.partition_key) for c in changes),
            *([dg.RunRequest(unmatched_run_key, job_name=unmatched_job.name)] if unmatched_run_key else []),
        ],
        dynamic_partitions_requests=[vehicles.build_add_request(names)] if names else [],
        asset_events=[upload_event(c.partition_key, c.fingerprint, scans.get(c.partition_key)) for c in changes],
        cursor=cursor.dump(),
    )


def _tick_text(videos: int, changed: int, left: int, listing: Listing) -> str:
    """For example `9 videos, nothing new; skipped 1 (1 empty)`."""
    news = f"{counted(changed, 'partition')} changed" if changed else "nothing new"
    if left:
        news += f", {left} more wait for the next tick"
    return "; ".join([f"{counted(videos, 'video')}, {news}", *listing.passed_over()])


def _in_manifest(partition_key: str, listing: Listing, tables: TableStore) -> str | None:
    """The fingerprint that the manifest has, where a run that this sensor did not start made one."""
    scan = manifest_scan(Partition.from_key(partition_key), tables, listing.store)
    return scan.fingerprint if scan else None

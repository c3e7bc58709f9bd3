"""The upload sensor: new, overwritten, restored and deleted uploads become runs of the whole chain."""

from __future__ import annotations

import dagster as dg

from video_assets.defs.launch import CHAIN_ASSETS, upload_event
from video_assets.defs.partitions import vehicles
from video_assets.defs.resources import deployment
from video_assets.keys import Partition
from video_assets.sources.listing import Listing, scan_partitions
from video_assets.sources.upload_cursor import UploadCursor
from video_assets.stages.manifest import manifest_scan, open_listing
from video_assets.storage.object_store import StoreUnavailable
from video_assets.table_store.parquet import ParquetTables

MAX_RUNS_PER_TICK = 50
"""More wait for the next tick: a sensor has 60 seconds."""


@dg.sensor(
    name="uploads",
    target=list(CHAIN_ASSETS),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Looks for new, changed and deleted uploads, adds vehicles, and runs the chain for their partitions.",
)
def upload_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    settings, tables = deployment()
    if settings.source is None:
        return dg.SkipReason("VIDEO_ASSETS_SOURCE is not set, so there is nothing to look at.")
    try:
        listing = open_listing(settings)
        scans = {partition.key: scan for partition, scan in scan_partitions(listing.everything()).items()}
    except StoreUnavailable as error:
        # The cursor stays as it was: what comes back unchanged is no news.
        return dg.SkipReason(f"The source cannot be read. {error}")
    cursor = UploadCursor.parse(context.cursor)
    changes, left = cursor.take_changes(
        {key: scan.fingerprint for key, scan in scans.items()},
        MAX_RUNS_PER_TICK,
        already=lambda key: _in_manifest(key, listing, tables),
    )
    report = ", ".join(f"{count} {reason}" for reason, count in sorted(listing.skipped.items()))
    text = f"{len(changes)} partitions changed, {left} more wait"
    text += f"; skipped: {report}; unmatched: {len(listing.unmatched)}"
    context.log.info(text)
    if not changes:
        return dg.SensorResult(skip_reason=dg.SkipReason(text), cursor=cursor.dump())
    names = sorted({str(Partition.from_key(change.partition_key).vehicle) for change in changes})
    return dg.SensorResult(
        run_requests=[dg.RunRequest(c.run_key, partition_key=c.partition_key) for c in changes],
        dynamic_partitions_requests=[vehicles.build_add_request(names)],
        asset_events=[upload_event(c.partition_key, c.fingerprint, scans.get(c.partition_key)) for c in changes],
        cursor=cursor.dump(),
    )


def _in_manifest(partition_key: str, listing: Listing, tables: ParquetTables) -> str | None:
    """The fingerprint that the manifest has, where a run that this sensor did not start made one."""
    scan = manifest_scan(Partition.from_key(partition_key), tables, listing.store)
    return scan.fingerprint if scan else None

"""Checks that look at what was committed, whenever they are run: of the objects that rows name, and of the fleet.

Those of objects run after their asset in every run of it, and alone in a run that is tagged with a partition. They do
not block: a blob that is gone makes failed rows downstream, not wrong ones; and automation would wait for ever for a
blocking check that a run left out.
"""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import dagster as dg

from video_assets.defs.assets.raw_uploads import raw_uploads
from video_assets.defs.checks import partitioned_check, some
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.blob_faults import BlobReport, blob_faults
from video_assets.stages.silence import LATE_DAYS, silent_vehicles
from video_assets.storage.registry import open_store
from video_assets.table_store.table_store import TableStore
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, Table

BLOBS_EXIST = "blobs_exist"
VEHICLES_SILENT = "no_vehicle_is_silent"


def _blob_check(table: Table) -> dg.AssetChecksDefinition:
    text = "Every object that rows name is there, with its size; the partition's objects are listed once."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)

        @dg.multi_asset_check(
            name=f"{table.name}_{BLOBS_EXIST}", specs=[partitioned_check(table.name, BLOBS_EXIST, text)]
        )
        def check(
            context: dg.AssetCheckExecutionContext,
            settings: dg.ResourceParam[Settings],
            tables: dg.ResourceParam[TableStore],
        ) -> Iterator[dg.AssetCheckResult]:
            store = open_store(settings.store)
            reports = []
            for key in sorted(context.op_execution_context.partition_keys):
                partition = Partition.from_key(str(key))
                reports.append(blob_faults(table, partition, tables.read(table, partition), store))
            yield _blob_result(table, reports)

    return check


def _blob_result(table: Table, reports: list[BlobReport]) -> dg.AssetCheckResult:
    faults = [fault for report in reports for fault in report.faults]
    remedy = f"Delete what has another size; then materialize {table.name}: what is missing is made again."
    return dg.AssetCheckResult(
        asset_key=table.name,
        check_name=BLOBS_EXIST,
        passed=not faults,
        description=f"{some(faults)}. {remedy}" if faults else None,
        metadata={
            "wrong": len(faults),
            "objects": sum(report.named for report in reports),
            "objects_elsewhere": sum(report.elsewhere for report in reports),
        },
    )


blob_checks = [_blob_check(table) for table in (CLIPS, FRAMES, EMBEDDINGS)]


@dg.asset_check(
    asset=raw_uploads.key,
    name=VEHICLES_SILENT,
    description="No vehicle is without a new upload for longer than VIDEO_ASSETS_SILENT_AFTER_H. Uploads of footage "
    f"more than {LATE_DAYS} days older than that do not count.",
)
def silence_check(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
) -> dg.AssetCheckResult:
    vehicles = context.instance.get_dynamic_partitions("vehicle")
    silent = silent_vehicles(
        vehicles, tables, after_h=settings.silent_after_h, now=datetime.now(UTC), zone=ZoneInfo(settings.timezone)
    )
    told = [f"{name} (last upload {time:%Y-%m-%d %H:%M} UTC)" if time else name for name, time in silent.items()]
    hours = f"{settings.silent_after_h:g} h"
    return dg.AssetCheckResult(
        passed=not silent,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(silent)} of {len(vehicles)} vehicles silent for {hours}: {some(told)}" if silent else None,
        metadata={"silent": len(silent), "vehicles": len(vehicles), "names": dg.MetadataValue.json(sorted(silent))},
    )


silence_job = dg.define_asset_job(
    "look_for_silent_vehicles",
    selection=dg.AssetSelection.checks_for_assets(raw_uploads.key),
    description="Looks for vehicles that have stopped sending.",
)
silence_schedule = dg.ScheduleDefinition(
    name="look_for_silent_vehicles",
    job=silence_job,
    cron_schedule="15 */6 * * *",
    # It reads a manifest or two for each vehicle, and tells; nothing changes.
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Looks for vehicles that have stopped sending, every 6 hours.",
)

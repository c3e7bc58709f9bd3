"""`video_manifest` and `unmatched`: what the source holds."""

import time
from typing import Any

import dagster as dg
import pyarrow.compute as pc

from video_assets.defs.assets.raw_uploads import raw_uploads
from video_assets.defs.assets.table_asset import (
    SHOWN_FAILURES,
    Made,
    Making,
    declare,
    describe,
    materialize,
    warn_of_failures,
)
from video_assets.defs.automation import REFRESH_ON_FETCHED_BAGS
from video_assets.defs.checks import deletions_check, deletions_result, uniqueness_check, uniqueness_result
from video_assets.defs.partitions import date_by_vehicle
from video_assets.defs.resources import deployment
from video_assets.settings import Settings
from video_assets.stages.failures import failed_items
from video_assets.stages.manifest import Manifest, build_manifest
from video_assets.stages.manifest_rows import CODE_VERSION
from video_assets.stages.unmatched import build_unmatched
from video_assets.table_store.table_store import TableStore
from video_assets.tables import FLEET_WINDOWS, UNMATCHED, VIDEO_MANIFEST

_fetches = deployment()[0].has_fleet


def make_manifest(making: Making) -> Made:
    partition = making.partition
    manifest = build_manifest(partition, tables=making.tables, settings=making.settings, report=making.log.info)
    _log_passed_over(making.log, manifest)
    if not len(manifest.fold.rows):
        making.log.info(f"no uploads of {partition.vehicle} on {partition.date}")
    skipped = {f"skipped_{reason}": count for reason, count in manifest.skipped.items()}
    size = pc.sum(manifest.fold.rows["size_bytes"]).as_py() or 0
    numbers = {"videos": len(manifest.fold.rows), "bytes": size, **_deletions(making.log, manifest), **skipped}
    checks = [uniqueness_result(manifest.fold), deletions_result(manifest.fold, manifest.removal)]
    return Made(manifest.fold, numbers, checks, more=_named(manifest))


@dg.asset(
    **declare(
        VIDEO_MANIFEST,
        code_version=CODE_VERSION,
        kinds={"parquet"},
        partitions_def=date_by_vehicle,
        condition=REFRESH_ON_FETCHED_BAGS if _fetches else None,
    ),
    deps=[raw_uploads, *([FLEET_WINDOWS.name] if _fetches else [])],
    check_specs=[uniqueness_check(VIDEO_MANIFEST), deletions_check()],
)
def video_manifest(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
):
    return materialize(context, settings, tables, make_manifest)


@dg.asset(
    **declare(UNMATCHED, code_version=CODE_VERSION, kinds={"parquet"}, partitions_def=None),
    deps=[raw_uploads],
)
def unmatched(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
):
    begun = time.monotonic()
    manifest = build_unmatched(tables=tables, settings=settings, report=context.log.info)
    _log_passed_over(context.log, manifest)
    warn_of_failures(context.log, failed_items(manifest.fold, settings))
    skipped = {f"skipped_{reason}": count for reason, count in manifest.skipped.items()}
    made = Made(manifest.fold, {"videos": len(manifest.fold.rows), **skipped}, more=_named(manifest))
    return dg.MaterializeResult(
        value={UNMATCHED.name: manifest.fold},
        metadata=describe(made, settings, tables, seconds=time.monotonic() - begun),
        data_version=dg.DataVersion(manifest.fold.data_version),
    )


def _deletions(log: dg.DagsterLogManager, manifest: Manifest) -> dict[str, float]:
    """How many videos are gone from the source and still have rows, and how many rows went."""
    removal = manifest.removal
    if told := removal.told(manifest.fold.partition):
        log.warning(told)
    for path in sorted(removal.paths)[:SHOWN_FAILURES]:
        log.info(f"deleted at the source, and removed: {path}")
    return {"gone": removal.gone, "removed": len(removal.paths)}


def _log_passed_over(log: dg.DagsterLogManager, manifest: Manifest) -> None:
    for line in manifest.examples:
        log.info(line)


def _named(manifest: Manifest) -> dict[str, dg.MetadataValue[Any]]:
    """Keys of what was skipped, some for each reason."""
    return {"skipped": dg.MetadataValue.text("\n".join(manifest.examples))} if manifest.examples else {}

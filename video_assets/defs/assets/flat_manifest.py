"""`flat_manifest`: the unpartitioned table of three columns, where VIDEO_ASSETS_FLAT_TABLE asks for it."""

from typing import Any

import dagster as dg

from video_assets.defs.assets.table_asset import OWNERS, column_schema
from video_assets.defs.automation import EVERY_HOUR
from video_assets.defs.odps_resource import OdpsResource
from video_assets.defs.partitions import GROUP
from video_assets.settings import Settings
from video_assets.stages.flat_manifest import FLAT_MANIFEST, build_manifest


@dg.asset(
    name=FLAT_MANIFEST.name,
    description=FLAT_MANIFEST.description + " Refreshed as a whole, for jobs outside of this project.",
    deps=["raw_uploads"],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"odps"},
    tags={"domain": "fleet-video"},
    automation_condition=EVERY_HOUR,
    pool="source",
    metadata={"dagster/column_schema": column_schema(FLAT_MANIFEST)},
)
def flat_manifest(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], odps: OdpsResource
) -> dg.MaterializeResult[Any]:
    assert settings.flat_table is not None
    built = build_manifest(
        odps.handle(),
        settings.source_uri(),
        settings.flat_table,
        lifecycle=settings.manifest_lifecycle,
        extensions=settings.video_extensions,
        settle_s=settings.settle_s,
        report=context.log.info,
    )
    skipped = {f"skipped_{reason}": count for reason, count in built.skipped.items()}
    return dg.MaterializeResult(
        metadata={
            "dagster/uri": f"odps://{odps.project}/{built.table}",
            "dagster/row_count": built.videos,
            "videos": built.videos,
            "bytes": built.size_bytes,
            "seconds": built.seconds,
            **skipped,
        }
    )

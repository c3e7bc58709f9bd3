"""`catalogue_flags`: what is there of a catalogue's records, written back; where VIDEO_ASSETS_CATALOGUE_URL is set."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import dagster as dg

from video_assets.defs.assets.table_asset import OWNERS, RETRIES, RETRY_WAIT_S
from video_assets.defs.automation import REFRESH_ON_NEW_DATA
from video_assets.defs.jobs import CATALOGUE_FLAGS
from video_assets.defs.partitions import GROUP, date_by_vehicle
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.catalogue.catalogue import open_claims, open_database, worker_name
from video_assets.sources.catalogue.database import CatalogueUnavailable
from video_assets.sources.registry import open_source
from video_assets.stages.catalogue_flags import confirm_partition
from video_assets.storage.object_store import StoreUnavailable
from video_assets.table_store.table_store import TableStore
from video_assets.tables import VECTOR_INDEX


@dg.asset(
    name=CATALOGUE_FLAGS,
    description="The flags of a catalogue's records: set where clips, frames, vectors and points were read back.",
    deps=[VECTOR_INDEX.name],
    partitions_def=date_by_vehicle,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    tags={"domain": "fleet-video"},
    automation_condition=REFRESH_ON_NEW_DATA,
)
def catalogue_flags(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], tables: dg.ResourceParam[TableStore]
) -> dg.MaterializeResult[Any]:
    found: Counter[str] = Counter()
    try:
        with open_database(settings, on_away=context.log.warning) as database:
            claims, listing = open_claims(settings, database, worker_name()), open_source(settings)
            for key in sorted(context.partition_keys):
                partition = Partition.from_key(str(key))
                found.update(asdict(confirm_partition(partition, listing, claims, tables=tables, settings=settings)))
    except (CatalogueUnavailable, StoreUnavailable) as error:
        context.log.warning(f"{error} Trying again in {RETRY_WAIT_S} s.")
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_WAIT_S) from error
    return dg.MaterializeResult(metadata=dict(found))

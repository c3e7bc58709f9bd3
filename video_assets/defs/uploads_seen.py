"""What Dagster's history knows of uploads, and which partitions there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from video_assets.defs.launch import DATA_VERSION_TAG, RAW_UPLOADS
from video_assets.defs.partitions import vehicles
from video_assets.keys import Partition
from video_assets.sources.partition_scan import GONE, PartitionScan
from video_assets.table_store.table_store import TableStore
from video_assets.tables import VIDEO_MANIFEST

KEYS_OF_A_QUERY = 5000
"""Databases take some ten thousand parameters of a query."""


def seen_uploads(instance: dg.DagsterInstance, partitions: Sequence[Partition]) -> Mapping[Partition, str]:
    """The data version that the upload sensor last reported of these partitions, of those that it ever did."""
    event, log = dg.DagsterEventType.ASSET_MATERIALIZATION, instance.event_log_storage
    found: dict[Partition, str] = {}
    for start in range(0, len(partitions), KEYS_OF_A_QUERY):
        some = partitions[start : start + KEYS_OF_A_QUERY]
        tags = log.get_latest_tags_by_partition(RAW_UPLOADS, event, [DATA_VERSION_TAG], [p.key for p in some])
        found |= {p: version for p in some if (version := tags.get(p.key, {}).get(DATA_VERSION_TAG))}
    # A partition whose uploads are all gone has a manifest of none.
    return {p: PartitionScan().fingerprint if version == GONE else version for p, version in found.items()}


def known_partitions(
    instance: dg.DagsterInstance, tables: TableStore, days: Sequence[str], only: Sequence[str] = ()
) -> list[Partition]:
    """The partitions of these days (and, if given, vehicles) that have a manifest, or uploads that were seen.

    Most of the days of most vehicles have nothing: they are no partitions that anything could be made of.
    """
    names = only or instance.get_dynamic_partitions(str(vehicles.name))
    found = {*seen_uploads(instance, [Partition(day, name) for day in days for name in names])}
    for day in days:
        found |= {p for p in tables.partitions(VIDEO_MANIFEST, day) if not only or p.vehicle in only}
    return sorted(found)

"""What a manifest was made of, to be held against what its source has now."""

from __future__ import annotations

from dataclasses import dataclass

from video_assets.keys import Partition
from video_assets.sources.listing import Listing
from video_assets.sources.partition_scan import PartitionScan
from video_assets.sources.source_objects import SourceStore
from video_assets.stages.items import Row
from video_assets.stages.manifest_rows import FLEET_API
from video_assets.table_store.table_store import PartitionNotFound, TableStore
from video_assets.tables import VIDEO_MANIFEST


@dataclass(frozen=True, slots=True)
class MadeOf:
    """Data versions of what a manifest is made of: the uploads, and the day of `fleet_windows` if there was one."""

    uploads: str
    bags: str | None

    def __str__(self) -> str:
        return self.uploads if self.bags is None else f"{self.uploads}+{self.bags}"


def parts_of(upstream_version: str | None) -> MadeOf:
    """The parts of a manifest's `upstream_version`."""
    uploads, plus, bags = (upstream_version or "").partition("+")
    return MadeOf(uploads, bags if plus else None)


def scan_source(listing: Listing, tables: TableStore) -> dict[Partition, PartitionScan]:
    """Every partition that has uploads, and (empty) those whose manifest has some that are gone."""
    scans = listing.scans()
    for partition in tables.partitions(VIDEO_MANIFEST):
        if partition not in scans:
            before = manifest_scan(partition, tables, listing.store)
            if before is not None and before.videos:
                scans[partition] = PartitionScan()
    return scans


def manifest_scan(partition: Partition, tables: TableStore, source: SourceStore) -> PartitionScan | None:
    """What the committed manifest has of the source's present objects; None where there is no manifest."""
    try:
        rows = tables.read(VIDEO_MANIFEST, partition).to_pylist()
    except PartitionNotFound:
        return None
    return scan_of(rows, source)


def listed_fingerprint(partition: Partition, tables: TableStore) -> str | None:
    """The fingerprint of what the committed manifest was made of; None where that is not known."""
    provenance = tables.provenance(VIDEO_MANIFEST, partition)
    return (parts_of(provenance.upstream_version).uploads or None) if provenance else None


def scan_of(rows: list[Row], source: SourceStore) -> PartitionScan:
    """The present uploads among a manifest's rows, as a scan of the source sees them."""
    scan = PartitionScan()
    for row in rows:
        is_upload = row["source_deleted_at"] is None and row["source"] != FLEET_API
        key = source.key_of(row["video_path"]) if is_upload else None
        if key is not None:
            scan.add(key, row["size_bytes"], row["etag"])
    return scan

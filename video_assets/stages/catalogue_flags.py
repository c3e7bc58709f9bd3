"""Flags of a catalogue for what something other than `catalogue run` has made: a run of Dagster's, a backfill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.catalogue.claims import Claims, Ending
from video_assets.sources.catalogue.records import Record
from video_assets.sources.catalogue.videos import CatalogueVideos
from video_assets.sources.listing import Listing
from video_assets.stages.catalogue_outputs import outputs
from video_assets.stages.catalogue_uploads import found_uploads
from video_assets.table_store.table_store import PartitionNotFound, TableStore
from video_assets.tables import VIDEO_MANIFEST


@dataclass(frozen=True, slots=True)
class Confirmed:
    """How many of a partition's records are done, failed, or wait; `written` are those whose row changed."""

    records: int
    done: int
    failed: int
    waiting: int
    written: int


def confirm_partition(
    partition: Partition, listing: Listing, claims: Claims, *, tables: TableStore, settings: Settings
) -> Confirmed:
    """Looks at what there is of each record of a partition, and writes that to its flags.

    Records that a `catalogue run` has in hand are its own to write; those that came since the manifest was made wait
    for the next.
    """
    objects = listing.objects
    assert isinstance(objects, CatalogueVideos)
    records = objects.records_of(partition)
    endings = list(_endings(partition, records, listing, tables, settings))
    known = {record.id: record for record in records}
    news = [ending for ending in endings if not _is_said(known[ending.record_id], ending)]
    written = claims.confirm(news) if news else set[int]()
    kinds = [ending.kind for ending in endings]
    return Confirmed(len(records), kinds.count("done"), kinds.count("failed"), kinds.count("waiting"), len(written))


def _endings(
    partition: Partition, records: Sequence[Record], listing: Listing, tables: TableStore, settings: Settings
) -> Iterator[Ending]:
    found, endings = found_uploads(records, listing, settings)
    yield from endings
    paths = {record.id: listing.store.uri_of(upload.info.key) for record, upload in found}
    listed = _listed(partition, tables)
    made = outputs(partition, paths.values(), tables, settings)
    for record_id, path in paths.items():
        if path in listed:
            yield made[path].ending(record_id)


def _listed(partition: Partition, tables: TableStore) -> set[str]:
    try:
        return {*tables.read(VIDEO_MANIFEST, partition)["video_path"].to_pylist()}
    except PartitionNotFound:
        return set()


def _is_said(record: Record, ending: Ending) -> bool:
    """Whether the record's row says so already. What failed is written again: it was tried again."""
    return ending.kind == "done" and record.flags == ending.flags

"""`video_manifest`: what videos a vehicle's day has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from video_assets.keys import Partition, without_endpoint
from video_assets.path_template import Unmatched
from video_assets.settings import Settings
from video_assets.sources.listing import Listing, skip_reason
from video_assets.sources.partition_scan import PartitionScan, Upload
from video_assets.sources.registry import open_source
from video_assets.sources.source_objects import SourceStore
from video_assets.stages.deletions import NOTHING_REMOVED, OnSourceDelete, Removal, RemovedVideos, decide_removal
from video_assets.stages.items import Row
from video_assets.stages.manifest_rows import bag_rows, earlier_rows, recipe, upload_row
from video_assets.stages.manifest_scan import MadeOf, scan_of
from video_assets.storage.object_store import ObjectNotFound, ObjectUnreadable
from video_assets.storage.registry import open_store
from video_assets.storage.stream_keys import split_stream_key
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import VIDEO_MANIFEST


@dataclass(frozen=True, slots=True)
class Manifest:
    """A partition's manifest, and what was passed over on the way: how many by reason, and lines that name some.

    `removal` is of the videos that are deleted at the source.
    """

    fold: Fold
    skipped: dict[str, int]
    examples: list[str]
    removal: Removal = NOTHING_REMOVED


def build_manifest(
    partition: Partition,
    *,
    tables: TableStore,
    settings: Settings,
    report: Callable[[str], None] | None = None,
    on_source_delete: OnSourceDelete | None = None,
) -> Manifest:
    """The partition's uploads, and its bags of a fleet's batch API. A listing that cannot be finished raises: it is
    never taken for empty.

    Videos of the earlier manifest that are gone from the source stay, with `source_deleted_at`, or go, as
    `on_source_delete` (by default the setting) says; see `deletions`.
    """
    begun = time.monotonic()
    # With neither, what is missing is told.
    listing = None
    if settings.has_source or not settings.has_fleet:
        listing = open_source(settings, with_files=True, report=report)
    base = tables.version(VIDEO_MANIFEST, partition)
    earlier = earlier_rows(tables, partition)
    bags, bags_version = bag_rows(partition, tables) if settings.has_fleet else ([], None)
    found = _Found([], earlier)
    if listing is not None:
        found = _of_listing(partition, listing, earlier, bags, settings, on_source_delete)
    fresh = found.uploads + bags
    made_now = {without_endpoint(row["video_path"]) for row in fresh}
    rows = fresh + [row for row in found.kept if without_endpoint(row["video_path"]) not in made_now]
    known = {(without_endpoint(row["video_path"]), row["etag"]) for row in earlier}
    made = sum((without_endpoint(row["video_path"]), row["etag"]) not in known for row in fresh)
    table = VIDEO_MANIFEST.rows(sorted(rows, key=lambda row: row["video_path"]))
    fold = Fold(
        VIDEO_MANIFEST,
        partition,
        table,
        base,
        made=made,
        upstream_version=str(MadeOf(found.scan.fingerprint, bags_version)),
        recipe=recipe(settings),
        seconds=time.monotonic() - begun,
    )
    if listing is None:
        return Manifest(fold, {}, [])
    return Manifest(fold, dict(listing.skipped), listing.named_examples(), found.removal)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a listing gives: rows of the uploads, earlier rows that stay, what both stand for, and what goes."""

    uploads: list[Row]
    kept: list[Row]
    scan: PartitionScan = field(default_factory=PartitionScan)
    removal: Removal = NOTHING_REMOVED


def _of_listing(
    partition: Partition,
    listing: Listing,
    earlier: list[Row],
    bags: list[Row],
    settings: Settings,
    on_source_delete: OnSourceDelete | None,
) -> _Found:
    found = list(listing.partition(partition))
    uploads = [upload_row(listing, upload) for upload in found]
    # By what they name: a row of the same video through another endpoint is the same row.
    listed = {without_endpoint(row["video_path"]) for row in (*uploads, *bags)}
    named = {_name_in_stream(row) for row in uploads} - {None}
    others = [row for row in earlier if without_endpoint(row["video_path"]) not in listed]
    stays = [_still(row, partition, listing) for row in others if _name_in_stream(row) not in named]
    still = [one for one in stays if one is not None]
    kept = [one.row for one in still]
    removal = _remove(partition, listing, earlier, listed, kept, settings, on_source_delete)
    scan = listing.stated or _made_of(found, still, listing.store)
    return _Found(uploads, [row for row in kept if row["video_path"] not in removal.paths], scan, removal)


def add_to_manifest(
    partition: Partition, uploads: Iterable[Upload], listing: Listing, *, tables: TableStore, settings: Settings
) -> Fold:
    """The partition's manifest with these uploads, in place of earlier versions of theirs; the other rows stay."""
    base = tables.version(VIDEO_MANIFEST, partition)
    rows = [upload_row(listing, upload) for upload in uploads]
    added = {without_endpoint(row["video_path"]) for row in rows}
    rows += [row for row in earlier_rows(tables, partition) if without_endpoint(row["video_path"]) not in added]
    table = VIDEO_MANIFEST.rows(sorted(rows, key=lambda row: row["video_path"]))
    return Fold(
        VIDEO_MANIFEST,
        partition,
        table,
        base,
        made=len(added),
        upstream_version=scan_of(table.to_pylist(), listing.store).fingerprint,
        recipe=recipe(settings),
    )


def _remove(
    partition: Partition,
    listing: Listing,
    earlier: list[Row],
    listed: set[str],
    still: list[Row],
    settings: Settings,
    on_source_delete: OnSourceDelete | None,
) -> Removal:
    """Decides about the rows that are gone, and remembers those that go. `listed` are paths without endpoint."""
    # A row of another source is not known to be gone.
    gone = {row["video_path"] for row in still if row["source_deleted_at"] and listing.store.key_of(row["video_path"])}
    mode = on_source_delete or settings.on_source_delete
    if mode == "keep" or not gone:
        return Removal(frozenset(), gone=len(gone))
    here = {row["video_path"] for row in earlier if without_endpoint(row["video_path"]) in listed}
    here |= {row["video_path"] for row in still} - gone
    memory = RemovedVideos(open_store(settings.store), partition)
    before = {path for path in memory.read() if without_endpoint(path) not in listed}
    removal = decide_removal(gone, here, before, forced=mode == "force")
    if removal.paths:
        memory.write(set() if mode == "force" else before | removal.paths)
    return removal


def _name_in_stream(row: Row) -> str | None:
    """The name of a video in chunks. A new file of that name has another path, and takes the row of the old one."""
    stream = split_stream_key(row["video_path"])
    return stream[1] if stream is not None else None


@dataclass(frozen=True, slots=True)
class _Stays:
    """A row that stays. `is_due`: its object will be listed again, or will be gone."""

    row: Row
    is_due: bool = False


def _still(row: Row, partition: Partition, listing: Listing) -> _Stays | None:
    """What becomes of a row whose video is not among the partition's uploads now.

    Gone from the source, or empty there now: it is marked with the time it was first seen gone. Being overwritten, not
    readable, or no longer read by the template: it stays, without a mark, since none says that the footage is gone. Of
    another source: it stays as it is. In another partition by the template as it is now: None.
    """
    key = listing.store.key_of(row["video_path"])
    if key is None:
        return _Stays(row)
    gone = _Stays({**row, "source_deleted_at": row["source_deleted_at"] or listing.now})
    try:
        info = listing.store.head(key)
    except ObjectNotFound:
        return gone
    except ObjectUnreadable:
        return _Stays({**row, "source_deleted_at": None})
    reason = skip_reason(info, listing.template.extensions, listing.settle_s, listing.now)
    if reason == "empty":
        return gone
    back = {**row, "source_deleted_at": None}
    try:
        elsewhere = listing.objects.fields(info, listing.template).partition != partition
    except Unmatched:
        return _Stays(back)
    return None if elsewhere else _Stays(back, is_due=reason in (None, "settling"))


def _made_of(uploads: list[Upload], stays: list[_Stays], source: SourceStore) -> PartitionScan:
    """What a manifest was made of: what was listed, and the earlier versions of what is being overwritten, of which no
    look can say so. Not what the settings pass over by now: no further run would change that.
    """
    scan = scan_of([one.row for one in stays if one.is_due], source)
    for upload in uploads:
        scan.add(upload.info.key, upload.info.size_bytes, upload.info.etag)
    return scan

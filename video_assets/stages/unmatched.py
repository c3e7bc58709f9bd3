"""`unmatched`: the videos of a source that belong to no vehicle or day."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from video_assets.settings import Settings
from video_assets.sources.registry import open_source
from video_assets.stages.items import failed_row
from video_assets.stages.manifest import Manifest
from video_assets.stages.manifest_rows import object_row, recipe
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import UNMATCHED


def build_unmatched(*, tables: TableStore, settings: Settings, report: Callable[[str], None] | None = None) -> Manifest:
    """Reads the whole source for the videos that belong to no partition."""
    listing = open_source(settings, with_files=True, report=report)
    base = tables.version(UNMATCHED, None)
    deque(listing.everything(), maxlen=0)
    rows = [
        failed_row({**object_row(listing.store, upload.info), "source": listing.objects.kind}, "match", upload.reason)
        for upload in listing.unmatched
    ]
    table = UNMATCHED.rows(sorted(rows, key=lambda row: row["video_path"]))
    version = listing.unmatched_fingerprint()
    fold = Fold(UNMATCHED, None, table, base, upstream_version=version, recipe=recipe(settings))
    return Manifest(fold, dict(listing.skipped), listing.named_examples())


def unmatched_made(tables: TableStore) -> str | None:
    """The fingerprint of the unmatched videos that the committed table lists, empty for none; None: not known."""
    if (provenance := tables.provenance(UNMATCHED, None)) is not None:
        return provenance.upstream_version
    return "" if tables.version(UNMATCHED, None) is None else None

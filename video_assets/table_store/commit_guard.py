"""What must hold at the moment of a commit, under the partition's writer lock: what the rows name is still there."""

from __future__ import annotations

from video_assets.keys import items_prefix
from video_assets.storage.object_store import ObjectStore
from video_assets.table_store.table_store import CommitConflict, Fold
from video_assets.tables import ITEM


def require_records(store: ObjectStore, fold: Fold) -> None:
    """Refuses rows of items whose records were collected as garbage between the fold and the commit.

    No table named them at that time. Garbage is collected under the same lock, records before blobs, so that rows
    which pass have their records and blobs from here on.

    Raises:
        CommitConflict: the next attempt makes these items again.
    """
    if fold.partition is None or ITEM.name not in fold.rows.column_names:
        return
    prefix = items_prefix(fold.table.name, fold.partition)
    missing = {f"{prefix}{item_id}.parquet" for item_id in fold.rows[ITEM.name].to_pylist() if item_id}
    if missing:
        missing -= {info.key for info in store.list(prefix)}
    if missing:
        raise CommitConflict(
            f"table {fold.table.name}, partition {fold.partition}",
            f"{len(missing)} of its records were taken away since this run read them, e.g. {min(missing)}",
            "Run it again: they are made again.",
        )

"""What a table says of the items it was made from: none lost, and how many failed (SPEC S1, S6)."""

from __future__ import annotations

import pyarrow as pa

from video_assets.tables import CLIPS, EMBEDDINGS, FAILED, FRAMES, OK, Table

ITEM_COLUMN = {CLIPS.name: "video_path", FRAMES.name: "clip_id", EMBEDDINGS.name: "clip_id"}
"""The column that names the upstream row an item was made from."""


def lost_items(table: Table, upstream: pa.Table, rows: pa.Table) -> tuple[set[str], set[str]]:
    """Upstream's ok items that have no row at all, and items with rows that upstream does not have."""
    column = ITEM_COLUMN[table.name]
    wanted = {row[column] for row in upstream.select([column, "status"]).to_pylist() if row["status"] == OK}
    found = set(rows[column].to_pylist())
    return wanted - found, found - wanted


def failed_share(table: Table, rows: pa.Table) -> tuple[int, int]:
    """How many items have a failed row, and how many items there are."""
    names = [ITEM_COLUMN[table.name], *(["model"] if "model" in rows.column_names else [])]
    items = list(zip(*(rows[name].to_pylist() for name in names), strict=True))
    failed = {item for item, status in zip(items, rows["status"].to_pylist(), strict=True) if status == FAILED}
    return len(failed), len(set(items))

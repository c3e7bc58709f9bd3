"""What a table says of the items it was made from: none lost, and how many failed (SPEC S1, S6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, EMBEDDINGS, FAILED, FRAMES, OK, Table

ITEM_COLUMN = {CLIPS.name: "video_path", FRAMES.name: "clip_id", EMBEDDINGS.name: "clip_id"}
"""The column that names the upstream row an item was made from."""


def lost_items(fold: Fold) -> tuple[set[str], set[str]]:
    """Upstream's ok items that have no row at all, and items with rows that upstream does not have."""
    assert fold.upstream is not None
    column = ITEM_COLUMN[fold.table.name]
    wanted = set(_values(fold.upstream, column, OK))
    found = set(fold.rows[column].to_pylist())
    return wanted - found, found - wanted


def lost_vectors(fold: Fold, models: Iterable[str]) -> set[tuple[str, str]]:
    """Ok frames without an ok vector of a model, by model, where the clip is not a failed item of the model."""
    assert fold.upstream is not None
    frames = set(zip(*(_values(fold.upstream, name, OK) for name in ("image_id", "clip_id")), strict=True))
    made = set(zip(*(_values(fold.rows, name, OK) for name in ("model", "image_id")), strict=True))
    failed = set(zip(*(_values(fold.rows, name, FAILED) for name in ("model", "clip_id")), strict=True))
    wanted = {(model, image) for model in models for image, clip in frames if (model, clip) not in failed}
    return wanted - made


def _values(rows: pa.Table, column: str, status: str) -> list[Any]:
    return [row[column] for row in rows.select([column, "status"]).to_pylist() if row["status"] == status]


def failed_share(table: Table, rows: pa.Table) -> tuple[int, int]:
    """How many items have a failed row, and how many items there are."""
    names = [ITEM_COLUMN[table.name], *(["model"] if "model" in rows.column_names else [])]
    items = list(zip(*(rows[name].to_pylist() for name in names), strict=True))
    failed = {item for item, status in zip(items, rows["status"].to_pylist(), strict=True) if status == FAILED}
    return len(failed), len(set(items))

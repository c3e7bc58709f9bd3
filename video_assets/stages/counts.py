"""What a table says of the items it was made from: none lost, and how many failed (SPEC S1, S6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, EMBEDDINGS, FAILED, FILTERED, FRAMES, OK, Table

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


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """How many items a table has by status, of how many that went in. `odd` counts rows of no known status."""

    input: int
    ok: int
    failed: int
    filtered: int
    odd: int

    @property
    def add_up(self) -> bool:
        """Whether ok + failed + filtered = input (SPEC S6)."""
        return self.odd == 0 and self.ok + self.failed + self.filtered == self.input


def item_counts(fold: Fold, models: Collection[str] = ()) -> ItemCounts:
    """Counts items: one has failed if any of its rows has, and is filtered if all of them are."""
    assert fold.upstream is not None
    wanted = len(set(_values(fold.upstream, ITEM_COLUMN[fold.table.name], OK))) * max(1, len(models))
    statuses = list(_statuses(fold.table, fold.rows).values())
    failed = sum(FAILED in found for found in statuses)
    ok = sum(OK in found and FAILED not in found for found in statuses)
    filtered = sum(found == {FILTERED} for found in statuses)
    odd = sum(status not in (OK, FAILED, FILTERED) for status in fold.rows["status"].to_pylist())
    return ItemCounts(wanted, ok, failed, filtered, odd)


def duplicates(table: Table, rows: pa.Table) -> list[str]:
    """What the table has more than once: rows of one key, and ids, each in words. Ids that are null name nothing."""
    columns = [table.key, *([_ID_COLUMNS[table.name]] if table.name in _ID_COLUMNS else [])]
    found = []
    for names in columns:
        values = Counter(zip(*(rows[name].to_pylist() for name in names), strict=True))
        found += [
            f"{', '.join(names)} {', '.join(map(str, value))} is there {count} times"
            for value, count in values.items()
            if count > 1 and (names == table.key or None not in value)
        ]
    return found


_ID_COLUMNS = {CLIPS.name: ("clip_id",), FRAMES.name: ("image_id",), EMBEDDINGS.name: ("model", "image_id")}
"""The columns that name a row's thing, beside the key that names the row."""


def _values(rows: pa.Table, column: str, status: str) -> list[Any]:
    return [row[column] for row in rows.select([column, "status"]).to_pylist() if row["status"] == status]


def failed_share(table: Table, rows: pa.Table) -> tuple[int, int]:
    """How many items have a failed row, and how many items there are."""
    statuses = _statuses(table, rows).values()
    return sum(FAILED in found for found in statuses), len(statuses)


def _statuses(table: Table, rows: pa.Table) -> dict[tuple[Any, ...], set[str]]:
    """The statuses of each item's rows."""
    names = [ITEM_COLUMN[table.name], *(["model"] if "model" in rows.column_names else [])]
    found: dict[tuple[Any, ...], set[str]] = {}
    for *item, status in zip(*(rows[name].to_pylist() for name in (*names, "status")), strict=True):
        found.setdefault(tuple(item), set()).add(status)
    return found

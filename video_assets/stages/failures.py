"""What failed, told shortly: the item by its key in the source, and the reason without the item's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from video_assets.settings import Settings
from video_assets.table_store.table_store import Fold
from video_assets.tables import FAILED


@dataclass(frozen=True, slots=True)
class FailedItem:
    """One item with failed rows. `reason` is that of the first of its `rows`."""

    key: str
    reason: str
    stage: str
    attempts: int
    rows: int = 1

    def __str__(self) -> str:
        more = f" (and {self.rows - 1} more of its rows)" if self.rows > 1 else ""
        return f"{self.key}: {self.reason}{more}"


def failed_items(fold: Fold, settings: Settings) -> list[FailedItem]:
    """Every item of the fold that has failed rows, in the order of the rows."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in _failed_rows(fold):
        groups.setdefault((_name(row), row.get("clip_id"), row.get("model")), []).append(row)
    return [_item(rows, settings) for rows in groups.values()]


def _failed_rows(fold: Fold) -> Iterator[dict[str, Any]]:
    return (row for row in fold.rows.to_pylist() if row.get("status") == FAILED)


def _item(rows: list[dict[str, Any]], settings: Settings) -> FailedItem:
    row = rows[0]
    path = _name(row) or row.get("model") or ""
    reason = str(row["error_msg"]).removeprefix(f"{path}: ")
    return FailedItem(source_key(path, settings), reason, row["error_stage"], row["attempts"] or 0, len(rows))


def _name(row: dict[str, Any]) -> str | None:
    """The video of a row; of a window of a fleet's batch API, its camera and start."""
    if "start_time" in row and "video_path" not in row:
        return f"{row['camera']} {row['start_time']:%Y-%m-%d %H:%M:%S}"
    return row.get("video_path")


def source_key(video_path: str, settings: Settings) -> str:
    """The key of a video in the source, as a person types it; of another source's, its URI."""
    if settings.source is None:
        return video_path
    # As bytes are: programs differ in what of a path they percent-encode.
    root, path = unquote(settings.source).rstrip("/") + "/", unquote(video_path)
    return path.removeprefix(root) if path.startswith(root) else video_path

"""Asset checks of single partitions.

Partitioned checks are a preview API: without it one bad vehicle paints the whole asset, and the next good one hides
it. All use of the API is here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import dagster as dg

from video_assets.defs.partitions import date_by_vehicle
from video_assets.settings import Settings
from video_assets.stages.counts import failed_share, lost_items, lost_vectors
from video_assets.stages.failures import FailedItem, failed_items
from video_assets.table_store.table_store import Fold
from video_assets.tables import VECTOR_INDEX, Table

NO_ITEM_LOST = "no_item_lost"
FAILURE_SHARE = "failure_share"
POINTS_ARE_VECTORS = "points_are_vectors"


def partitioned_check(asset: str, name: str, description: str) -> dg.AssetCheckSpec:
    """A check whose result belongs to a partition."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=asset, description=description, partitions_def=date_by_vehicle)


def item_checks(table: Table) -> list[dg.AssetCheckSpec]:
    """The checks of a table that is made item by item."""
    lost = "Every ok row of the table before has its rows here, ok, failed or filtered; and no other has."
    share = "No more items failed than VIDEO_ASSETS_FAILURE_LIMIT allows."
    return [
        partitioned_check(table.name, NO_ITEM_LOST, lost),
        partitioned_check(table.name, FAILURE_SHARE, share),
    ]


def item_results(fold: Fold, settings: Settings, models: Iterable[str] = ()) -> list[dg.AssetCheckResult]:
    """The results of `item_checks` for one partition; for embeddings, of these models."""
    lost, unexpected = lost_items(fold)
    vectors = lost_vectors(fold, models) if models else set()
    failed, items = failed_share(fold.table, fold.rows)
    limit = settings.failure_limit
    return [
        dg.AssetCheckResult(
            check_name=NO_ITEM_LOST,
            passed=not (lost or unexpected or vectors),
            description=_lost_text(lost, unexpected, vectors),
            metadata={"lost": len(lost) + len(vectors), "unexpected": len(unexpected), "items": items},
        ),
        dg.AssetCheckResult(
            check_name=FAILURE_SHARE,
            passed=failed <= limit * items,
            description=_failed_text(failed, items, failed_items(fold, settings)),
            metadata={
                "failed": failed,
                "items": items,
                "share": failed / items if items else 0.0,
                "limit": limit,
            },
        ),
    ]


def _lost_text(lost: set[str], unexpected: set[str], vectors: set[tuple[str, str]]) -> str | None:
    parts = []
    if lost:
        parts.append(f"{len(lost)} without any row, e.g. {min(lost)}")
    if vectors:
        parts.append(f"{len(vectors)} without a vector, e.g. {' of '.join(reversed(min(vectors)))}")
    if unexpected:
        parts.append(f"{len(unexpected)} that the table before does not have, e.g. {min(unexpected)}")
    return "; ".join(parts) or None


def _failed_text(failed: int, items: int, failures: list[FailedItem]) -> str | None:
    """For example `1 of 2 failed: veh-2/2026-01-05/rear/084000.mp4: cannot be opened as a video`."""
    if not failures:
        return None
    others = "" if len(failures) == 1 else f"; and {len(failures) - 1} more"
    return f"{failed} of {items} failed: {failures[0]}{others}"


def points_check() -> dg.AssetCheckSpec:
    """The check of the vector index."""
    text = "The index holds as many points of the partition as there are ok vectors."
    return partitioned_check(VECTOR_INDEX.name, POINTS_ARE_VECTORS, text)


def points_result(fold: Fold) -> dg.AssetCheckResult:
    """The result of `points_check` for one partition."""
    wrong = {
        row["model"]: [row["points"], row["vectors"]]
        for row in fold.rows.to_pylist()
        if row["points"] != row["vectors"]
    }
    text = "; ".join(f"{model}: {points} points of {vectors} vectors" for model, (points, vectors) in wrong.items())
    return dg.AssetCheckResult(
        check_name=POINTS_ARE_VECTORS, passed=not wrong, description=text or None, metadata={"wrong": wrong}
    )

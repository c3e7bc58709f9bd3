"""Asset checks of single partitions.

Partitioned checks are a preview API: without it one bad vehicle paints the whole asset, and the next good one hides
it. All use of the API is here.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

import dagster as dg
import pyarrow.compute as pc

from video_assets.defs.partitions import date_by_vehicle
from video_assets.settings import Settings
from video_assets.stages.counts import ItemCounts, duplicates, failed_share, item_counts, lost_items, lost_vectors
from video_assets.stages.deletions import Removal
from video_assets.stages.failures import FailedItem, failed_items
from video_assets.stages.sampling_faults import sampling_faults
from video_assets.stages.vector_faults import vector_faults
from video_assets.table_store.table_store import Fold
from video_assets.tables import (
    EMBEDDINGS,
    FAILED,
    FILTERED,
    FLEET_WINDOWS,
    FRAMES,
    OK,
    VECTOR_INDEX,
    VIDEO_MANIFEST,
    Table,
)

ROWS_UNIQUE = "rows_unique"
NO_ITEM_LOST = "no_item_lost"
FAILURE_SHARE = "failure_share"
SAMPLES_AS_PROMISED = "samples_as_promised"
VECTORS_SOUND = "vectors_sound"
POINTS_ARE_VECTORS = "points_are_vectors"
DELETIONS_TAKEN_OVER = "deletions_taken_over"
WINDOWS_ANSWERED = "windows_answered"

BLOCKING = frozenset({ROWS_UNIQUE, NO_ITEM_LOST, VECTORS_SOUND})
"""Where wrong data would flow on: nothing downstream of the partition is made."""

SHOWN_FAULTS = 3


def some(faults: Sequence[str]) -> str:
    """Some faults in a line, and how many more there are."""
    more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    return "; ".join(faults[:SHOWN_FAULTS]) + more


def partitioned_check(asset: str, name: str, description: str) -> dg.AssetCheckSpec:
    """A check whose result belongs to a partition. A blocking one that fails ends the run after its asset is committed,
    and keeps automation from what is downstream of this partition.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name, asset=asset, description=description, partitions_def=date_by_vehicle, blocking=name in BLOCKING
        )


def uniqueness_check(table: Table) -> dg.AssetCheckSpec:
    """The check of every table of the chain."""
    text = "No row is there twice, and no id."
    return partitioned_check(table.name, ROWS_UNIQUE, text)


def uniqueness_result(fold: Fold) -> dg.AssetCheckResult:
    """The result of `uniqueness_check` for one partition."""
    found = duplicates(fold.table, fold.rows)
    remedy = f"Materialize {fold.table.name} again; if it stays, delete items/ beside the table: all is made anew."
    return dg.AssetCheckResult(
        check_name=ROWS_UNIQUE,
        passed=not found,
        description=f"{some(found)}. {remedy}" if found else None,
        metadata={"duplicates": len(found), "rows": len(fold.rows)},
    )


def item_checks(table: Table) -> list[dg.AssetCheckSpec]:
    """The checks of a table that is made item by item."""
    lost = "Every ok row of the table before has its rows here, and no other has; ok + failed + filtered = input."
    share = "No more items failed than VIDEO_ASSETS_FAILURE_LIMIT allows."
    return [
        uniqueness_check(table),
        partitioned_check(table.name, NO_ITEM_LOST, lost),
        partitioned_check(table.name, FAILURE_SHARE, share),
    ]


def item_results(fold: Fold, settings: Settings, models: Collection[str] = ()) -> list[dg.AssetCheckResult]:
    """The results of `item_checks` for one partition; for embeddings, of these models."""
    lost, unexpected = lost_items(fold)
    vectors = lost_vectors(fold, models) if models else set()
    counts = item_counts(fold, models)
    failed, items = failed_share(fold.table, fold.rows)
    limit = settings.failure_limit
    return [
        uniqueness_result(fold),
        dg.AssetCheckResult(
            check_name=NO_ITEM_LOST,
            passed=not (lost or unexpected or vectors) and counts.add_up,
            description=_lost_text(fold.table, lost, unexpected, vectors, counts),
            metadata={"lost": len(lost) + len(vectors), "unexpected": len(unexpected), "items": items}
            | {name: getattr(counts, name) for name in ("input", "ok", "failed", "filtered")},
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


def _lost_text(
    table: Table, lost: set[str], unexpected: set[str], vectors: set[tuple[str, str]], counts: ItemCounts
) -> str | None:
    parts = []
    if lost:
        parts.append(f"{len(lost)} without any row, e.g. {min(lost)}")
    if vectors:
        parts.append(f"{len(vectors)} without a vector, e.g. {' of '.join(reversed(min(vectors)))}")
    if unexpected:
        parts.append(f"{len(unexpected)} that the table before does not have, e.g. {min(unexpected)}")
    if counts.odd:
        parts.append(f"{counts.odd} rows that are neither ok nor failed nor filtered")
    if not counts.add_up and not parts:
        parts.append(f"{counts.ok} ok + {counts.failed} failed + {counts.filtered} filtered are not {counts.input}")
    return f"{'; '.join(parts)}. Materialize {table.name} of this partition again." if parts else None


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
    remedy = "Materialize vector_index of this partition again."
    return dg.AssetCheckResult(
        check_name=POINTS_ARE_VECTORS,
        passed=not wrong,
        description=f"{text}. {remedy}" if wrong else None,
        metadata={
            "wrong": len(wrong),
            "points": pc.sum(fold.rows["points"]).as_py() or 0,
            "vectors": pc.sum(fold.rows["vectors"]).as_py() or 0,
        },
    )


def samples_check() -> dg.AssetCheckSpec:
    """The check of frames. It does not block: a frame too few is incomplete, and what is there is right."""
    text = "Each undamaged clip has the frames that VIDEO_ASSETS_FRAMES_SAMPLING promises, by its row and their times."
    return partitioned_check(FRAMES.name, SAMPLES_AS_PROMISED, text)


def samples_result(fold: Fold, settings: Settings) -> dg.AssetCheckResult:
    """The result of `samples_check` for one partition."""
    assert fold.upstream is not None
    report = sampling_faults(fold.upstream, fold.rows, settings.frames_sampling)
    remedy = "Delete the record that item_id names in items/, and materialize frames again."
    return dg.AssetCheckResult(
        check_name=SAMPLES_AS_PROMISED,
        passed=not report.faults,
        description=f"{some(report.faults)}. {remedy}" if report.faults else None,
        metadata={
            "wrong": len(report.faults),
            "clips": report.clips,
            "asked": report.asked,
            "untold": report.untold,
        },
    )


def vectors_check() -> dg.AssetCheckSpec:
    """The check of embeddings. It blocks: a vector that is none would be found by every search, or by none."""
    text = "The vectors that rows name are numbers, of length 1, and of the model's dimension."
    return partitioned_check(EMBEDDINGS.name, VECTORS_SOUND, text)


def vectors_result(fold: Fold) -> dg.AssetCheckResult:
    """The result of `vectors_check` for one partition."""
    faults = vector_faults(fold.rows)
    remedy = "Delete the file, and materialize embeddings again."
    return dg.AssetCheckResult(
        check_name=VECTORS_SOUND,
        passed=not faults,
        description=f"{some(faults)}. {remedy}" if faults else None,
        metadata={"wrong": len(faults), "vectors": fold.count(OK)},
    )


def deletions_check() -> dg.AssetCheckSpec:
    """The check of the manifest on what is deleted at the source."""
    text = "Where VIDEO_ASSETS_ON_SOURCE_DELETE is remove: not so much is gone that it looks like a mistake."
    return partitioned_check(VIDEO_MANIFEST.name, DELETIONS_TAKEN_OVER, text)


def deletions_result(fold: Fold, removal: Removal) -> dg.AssetCheckResult:
    """The result of `deletions_check` for one partition."""
    return dg.AssetCheckResult(
        check_name=DELETIONS_TAKEN_OVER,
        passed=removal.refusal is None,
        severity=dg.AssetCheckSeverity.WARN,
        description=removal.told(fold.partition),
        metadata={"gone": removal.gone, "removed": len(removal.paths)},
    )


def answers_check() -> dg.AssetCheckSpec:
    """The check of windows of a fleet's batch API."""
    text = "Every window was asked for, and has footage that is there or has none."
    return partitioned_check(FLEET_WINDOWS.name, WINDOWS_ANSWERED, text)


def answers_result(fold: Fold) -> dg.AssetCheckResult:
    """The result of `answers_check` for one partition."""
    open_windows = fold.count(FILTERED) + fold.count(FAILED)
    text = f"{fold.count(FILTERED)} of {len(fold.rows)} windows not asked for, {fold.count(FAILED)} failed"
    return dg.AssetCheckResult(
        check_name=WINDOWS_ANSWERED,
        passed=not open_windows,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{text}. Materialize {FLEET_WINDOWS.name} again: only these are asked for."
        if open_windows
        else None,
        metadata={"unknown": fold.count(FILTERED), "failed": fold.count(FAILED), "windows": len(fold.rows)},
    )

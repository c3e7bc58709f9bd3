"""Make a partition's points in the index exactly those of the embeddings table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from video_assets.vectors.index_errors import PointsNotLoadedError
from video_assets.vectors.vector_index import Point, PointFilter, VectorIndex


@dataclass(frozen=True)
class SyncResult:
    """How many points of the partition were written, left alone, and removed."""

    upserted: int
    unchanged: int
    removed: int


def sync_partition(
    index: VectorIndex,
    collection: str,
    date: str,
    vehicle: str,
    wanted: Mapping[str, str],
    load: Callable[[Set[str]], Iterable[Point]],
) -> SyncResult:
    """Upsert what is missing or changed, then remove what is stale. Killed anywhere, do it again.

    Args:
        index: holds `collection` already, see `VectorIndex.ensure`.
        date: `YYYY-MM-DD`.
        vehicle: vehicle id.
        wanted: point id → row hash of every point that the partition shall have. The hash covers
            all that the point is made from: where it differs, the point is written again.
        load: called with the ids to write, once, and not at all where there are none; yields their
            points in any order, lazily; others that it yields are passed over. `date`, `vehicle`
            and `row_hash` need not be in the payloads, they are put in here.

    Raises:
        PointsNotLoadedError: `load` left out points. The others are written; nothing is removed.
    """
    held = index.partition_points(collection, date, vehicle)
    due = {point for point, row_hash in wanted.items() if held.get(point) != row_hash}
    if due:
        _write(index, collection, date, vehicle, {point: wanted[point] for point in due}, load)
    # Last, so that a search never misses a frame in between. Only within the partition: a point that
    # another partition has taken over meanwhile is no longer this one's to remove.
    stale = held.keys() - wanted.keys()
    removed = index.delete(collection, stale, where=PointFilter(date=date, vehicle=vehicle)) if stale else 0
    return SyncResult(upserted=len(due), unchanged=len(wanted) - len(due), removed=removed)


def _write(
    index: VectorIndex,
    collection: str,
    date: str,
    vehicle: str,
    due: Mapping[str, str],
    load: Callable[[Set[str]], Iterable[Point]],
) -> None:
    missing = set(due)

    def stamped() -> Iterator[Point]:
        for point in load(due.keys()):
            if point.id in missing:
                missing.remove(point.id)
                keys = {"date": date, "vehicle": vehicle, "row_hash": due[point.id]}
                yield Point(point.id, point.vector, {**point.payload, **keys})

    index.upsert(collection, stamped())
    if missing:
        raise PointsNotLoadedError(
            f"collection {collection}, partition {date}|{vehicle}",
            f"{len(missing)} of {len(due)} points have no vector, {min(missing)} for one",
            "Materialize embeddings of that partition again.",
        )

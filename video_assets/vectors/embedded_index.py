"""The vector index in process: one Qdrant Edge shard per collection, no server.

    <location>/<collection>/collection.json   {"dim": 1280, "distance": "cosine"}
    <location>/<collection>/shard/            the engine's files
    <location>/<collection>/making            there until the collection is whole
    <location>/.locks/                        whose turn it is

Every call opens the shard, works and closes it, so that processes take turns; a session keeps it open
between calls while nobody waits. The engine's write-ahead log stays on: without it a kill −9 left points
with the payload of one version and the vector of another (2,629 points in 25 trials; none in as many
with the log).
"""

from __future__ import annotations

import json
import shutil
from array import array
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from video_assets.vectors.collection import (
    DELETE_BATCH,
    INDEXED_FIELDS,
    SCROLL_PAGE,
    batches,
    check_dim,
    check_id,
    check_limit,
    check_name,
    check_vector,
    is_collection_name,
    mismatch_error,
    missing_error,
    plain_payload,
)
from video_assets.vectors.engine_errors import engine_errors, rebuild, unwritable
from video_assets.vectors.index_errors import IndexCorruptError, IndexUnwritableError
from video_assets.vectors.ranking import as_hit, best_hits
from video_assets.vectors.shard_turns import ShardTurns
from video_assets.vectors.vector_index import EVERYTHING, Hit, Point, PointFilter

if TYPE_CHECKING:
    from qdrant_edge import ConditionType, EdgeShard, Filter

READ_WAIT_S = 5.0
WRITE_WAIT_S = 120.0

_DISTANCE = "cosine"
_MAKING = "making"
"""In a collection's directory until it is whole."""
_RESERVE_BYTES = 256 * 1024 * 1024
"""The engine maps sparse files: on a full disk the kernel kills the process, with no error to catch."""


class EmbeddedIndex:
    """See `VectorIndex`. Searches wait up to `READ_WAIT_S` for their turn, writers `WRITE_WAIT_S`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._turns = ShardTurns(directory)

    def ensure(self, collection: str, dim: int) -> None:
        check_name(collection)
        check_dim(dim)
        with self._turns.turn(collection, WRITE_WAIT_S) as turn:
            # What is left of a collection that someone deleted in part is no collection.
            if not self._is_whole(collection) or not turn.path.exists():
                turn.shard = self._create(collection, dim)
                return
            found = self._dim(collection)
            if found != dim:
                raise mismatch_error(collection, str(self._home(collection)), f"{found} ({_DISTANCE})", dim)
            _index_fields(turn.shard)

    def partition_points(self, collection: str, date: str, vehicle: str) -> dict[str, str]:
        from qdrant_edge import ScrollRequest

        self._dim(collection)
        partition = edge_filter(PointFilter(date=date, vehicle=vehicle))
        found: dict[str, str] = {}
        offset = None
        while True:
            with self._turns.turn(collection, WRITE_WAIT_S) as turn:
                page, offset = turn.shard.scroll(
                    ScrollRequest(offset=offset, limit=SCROLL_PAGE, filter=partition, with_payload=["row_hash"])
                )
            found.update((str(record.id), str((record.payload or {}).get("row_hash", ""))) for record in page)
            if offset is None:
                return found

    def upsert(self, collection: str, points: Iterable[Point]) -> int:
        from qdrant_edge import Point as EdgePoint
        from qdrant_edge import UpdateOperation

        written = 0
        self._require_room()
        with self._turns.session(collection):
            for batch in batches(points, collection, self._dim(collection), bytes_per_number=4):
                made = [EdgePoint(point.id, _numbers(point.vector), plain_payload(point.payload)) for point in batch]
                operation = UpdateOperation.upsert_points(made)
                with self._turns.turn(collection, WRITE_WAIT_S) as turn:
                    turn.shard.update(operation)
                written += len(batch)
            if written:
                with self._turns.turn(collection, WRITE_WAIT_S) as turn:
                    turn.shard.flush()
        return written

    def delete(self, collection: str, ids: Iterable[str], *, where: PointFilter = EVERYTHING) -> int:
        from qdrant_edge import Filter, HasIdCondition, ScrollRequest, UpdateOperation

        self._dim(collection)
        chosen = sorted(set(ids))
        for point in chosen:
            check_id(point)
        removed = 0
        for first in range(0, len(chosen), DELETE_BATCH):
            among = HasIdCondition({*chosen[first : first + DELETE_BATCH]})
            matching = Filter(must=[among, *edge_conditions(where)])
            with self._turns.turn(collection, WRITE_WAIT_S) as turn:
                # Resolved to ids first: a replay of the log then does what was done, whatever changed since.
                records, _ = turn.shard.scroll(ScrollRequest(limit=DELETE_BATCH, filter=matching, with_payload=False))
                turn.shard.update(UpdateOperation.delete_points([record.id for record in records]))
                turn.shard.flush()
            removed += len(records)
        return removed

    def query(
        self,
        collection: str,
        vector: NDArray[np.float32],
        *,
        limit: int,
        where: PointFilter = EVERYTHING,
    ) -> list[Hit]:
        from qdrant_edge import Query, QueryRequest

        check_limit(limit)
        check_vector("query", vector, collection, self._dim(collection))
        nearest = Query.Nearest(vector.tolist())
        matching = edge_filter(where)
        with self._turns.turn(collection, READ_WAIT_S) as turn:

            def search(count: int) -> list[Hit]:
                request = QueryRequest(limit=count, query=nearest, filter=matching, with_payload=True)
                return [as_hit(str(found.id), found.score, found.payload) for found in turn.shard.query(request)]

            return best_hits(search, limit)

    def count(self, collection: str, *, where: PointFilter = EVERYTHING) -> int:
        from qdrant_edge import CountRequest

        self._dim(collection)
        matching = edge_filter(where)
        with self._turns.turn(collection, READ_WAIT_S) as turn:
            return int(turn.shard.count(CountRequest(exact=True, filter=matching)))

    def collections(self) -> list[str]:
        try:
            names = sorted(home.name for home in self._directory.iterdir() if is_collection_name(home.name))
            return [name for name in names if self._is_whole(name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unwritable(self._directory, error) from error

    def session(self, collection: str) -> AbstractContextManager[None]:
        check_name(collection)
        return self._turns.session(collection)

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _home(self, collection: str) -> Path:
        return self._directory / collection

    def _is_whole(self, collection: str) -> bool:
        return self._home(collection).exists() and not (self._home(collection) / _MAKING).exists()

    def _create(self, collection: str, dim: int) -> EdgeShard:
        """The new collection's open shard. Made in place, so that it need not be opened again."""
        from qdrant_edge import Distance, EdgeConfig, EdgeShard, EdgeVectorParams

        home, marked = self._home(collection), self._directory / ".tmp" / collection
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._require_room()
            shutil.rmtree(marked, ignore_errors=True)
            shutil.rmtree(home, ignore_errors=True)
            marked.mkdir(parents=True)
            (marked / _MAKING).touch()
            (marked / "collection.json").write_text(json.dumps({"dim": dim, "distance": _DISTANCE}))
            marked.rename(home)
            (home / "shard").mkdir()
            with engine_errors(home / "shard"):
                config = EdgeConfig(vectors=EdgeVectorParams(size=dim, distance=Distance.Cosine))
                made = EdgeShard.create(str(home / "shard"), config)
                _index_fields(made)
            (home / _MAKING).unlink()
        except OSError as error:
            raise unwritable(self._directory, error) from error
        return made

    def _dim(self, collection: str) -> int:
        """The collection's dimension; raises where there is no such collection."""
        check_name(collection)
        description = self._home(collection) / "collection.json"
        try:
            if not self._is_whole(collection):
                raise missing_error(collection, str(self._directory))
            found = json.loads(description.read_bytes())
            if found["distance"] != _DISTANCE:
                raise ValueError(f"distance {found['distance']!r}")
            return int(found["dim"])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
            raise IndexCorruptError(str(description), f"unreadable: {error}", rebuild(description.parent)) from error
        except OSError as error:
            raise unwritable(self._directory, error) from error

    def _require_room(self) -> None:
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError as error:
            raise unwritable(self._directory, error) from error
        if free < _RESERVE_BYTES:
            cause = f"has {free // 1_000_000} MB left on its disk, and needs {_RESERVE_BYTES // 1_000_000}"
            raise IndexUnwritableError(str(self._directory), cause, "Free space, or set another directory.")


def _numbers(vector: NDArray[np.float32]) -> Any:
    """The vector as the engine takes it in soonest: made and read, lists and memory views take a third longer."""
    return array("f", vector.tobytes())


def _index_fields(shard: EdgeShard) -> None:
    from qdrant_edge import PayloadSchemaType, UpdateOperation

    for field in INDEXED_FIELDS.keys() - shard.info().payload_schema.keys():
        kind = getattr(PayloadSchemaType, INDEXED_FIELDS[field].capitalize())
        shard.update(UpdateOperation.create_field_index(field, kind))


def edge_conditions(where: PointFilter) -> list[ConditionType]:
    """The engine's form of what a filter asks for, all of which must hold."""
    from qdrant_edge import FieldCondition, MatchValue, RangeFloat

    conditions: list[ConditionType] = [
        FieldCondition(key=field, match=MatchValue(value)) for field, value in where.equals().items()
    ]
    start, end = where.captured_bounds()
    if start is not None or end is not None:
        # Exact as floats: epoch microseconds stay below 2**53 until the year 2255.
        conditions.append(FieldCondition(key="captured_at", range=RangeFloat(gte=start, lt=end)))
    return conditions


def edge_filter(where: PointFilter) -> Filter | None:
    """The engine's form of a filter, None where it asks for nothing."""
    from qdrant_edge import Filter

    conditions = edge_conditions(where)
    return Filter(must=conditions) if conditions else None

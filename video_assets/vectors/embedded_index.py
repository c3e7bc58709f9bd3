"""The vector index in process: one Qdrant Edge shard per collection, no server.

    <location>/<collection>/collection.json   {"dim": 1280, "distance": "cosine"}
    <location>/<collection>/shard/            the engine's files
    <location>/.locks/  <location>/.tmp/      whose turn it is; collections in the making

Every call opens the shard, works and closes it, writers per batch, so that processes take turns. The
engine's write-ahead log stays on: without it a kill −9 left points with the payload of one version
and the vector of another (2,629 points in 25 trials; none in as many with the log).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
from video_assets.vectors.index_errors import IndexCorruptError, IndexUnwritableError
from video_assets.vectors.ranking import as_hit, best_hits
from video_assets.vectors.shard_lock import busy_error, hold_collection
from video_assets.vectors.vector_index import EVERYTHING, Hit, Point, PointFilter

if TYPE_CHECKING:
    from qdrant_edge import ConditionType, EdgeShard, Filter

READ_WAIT_S = 5.0
WRITE_WAIT_S = 120.0

_OPEN_POLL_S = 0.02
_DISTANCE = "cosine"
_RESERVE_BYTES = 256 * 1024 * 1024
"""The engine maps sparse files: on a full disk the kernel kills the process, with no error to catch."""


class EmbeddedIndex:
    """See `VectorIndex`. Searches wait up to `READ_WAIT_S` for their turn, writers `WRITE_WAIT_S`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._locks = directory / ".locks"

    def ensure(self, collection: str, dim: int) -> None:
        check_name(collection)
        check_dim(dim)
        with hold_collection(self._locks, collection, WRITE_WAIT_S):
            # What is left of a collection that someone deleted in part is no collection.
            if not (self._home(collection) / "shard").exists():
                shutil.rmtree(self._home(collection), ignore_errors=True)
                self._create(collection, dim)
                return
        found = self._dim(collection)
        if found != dim:
            raise mismatch_error(collection, str(self._home(collection)), f"{found} ({_DISTANCE})", dim)
        with self._shard(collection, WRITE_WAIT_S) as shard:
            _index_fields(shard)

    def partition_points(self, collection: str, date: str, vehicle: str) -> dict[str, str]:
        from qdrant_edge import ScrollRequest

        self._dim(collection)
        partition = edge_filter(PointFilter(date=date, vehicle=vehicle))
        found: dict[str, str] = {}
        offset = None
        while True:
            with self._shard(collection, WRITE_WAIT_S) as shard:
                page, offset = shard.scroll(
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
        for batch in batches(points, collection, self._dim(collection), bytes_per_number=4):
            operation = UpdateOperation.upsert_points(
                [EdgePoint(point.id, point.vector.tolist(), plain_payload(point.payload)) for point in batch]
            )
            with self._shard(collection, WRITE_WAIT_S) as shard:
                shard.update(operation)
                shard.flush()
            written += len(batch)
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
            with self._shard(collection, WRITE_WAIT_S) as shard:
                # Resolved to ids first: a replay of the log then does what was done, whatever changed since.
                records, _ = shard.scroll(ScrollRequest(limit=DELETE_BATCH, filter=matching, with_payload=False))
                shard.update(UpdateOperation.delete_points([record.id for record in records]))
                shard.flush()
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
        with self._shard(collection, READ_WAIT_S) as shard:

            def search(count: int) -> list[Hit]:
                request = QueryRequest(limit=count, query=nearest, filter=matching, with_payload=True)
                return [as_hit(str(found.id), found.score, found.payload) for found in shard.query(request)]

            return best_hits(search, limit)

    def count(self, collection: str, *, where: PointFilter = EVERYTHING) -> int:
        from qdrant_edge import CountRequest

        self._dim(collection)
        matching = edge_filter(where)
        with self._shard(collection, READ_WAIT_S) as shard:
            return int(shard.count(CountRequest(exact=True, filter=matching)))

    def collections(self) -> list[str]:
        try:
            return sorted(home.name for home in self._directory.iterdir() if is_collection_name(home.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _home(self, collection: str) -> Path:
        return self._directory / collection

    def _create(self, collection: str, dim: int) -> None:
        """Make the collection aside and move it into place, so that a kill leaves all of it or none."""
        from qdrant_edge import Distance, EdgeConfig, EdgeShard, EdgeVectorParams

        making = self._directory / ".tmp" / collection
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._require_room()
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            (making / "collection.json").write_text(json.dumps({"dim": dim, "distance": _DISTANCE}))
            with self._engine_errors(making):
                config = EdgeConfig(vectors=EdgeVectorParams(size=dim, distance=Distance.Cosine))
                shard = EdgeShard.create(str(making / "shard"), config)
                _index_fields(shard)
                shard.close()
            making.rename(self._home(collection))
        except OSError as error:
            raise self._unwritable(error) from error

    def _dim(self, collection: str) -> int:
        """The collection's dimension; raises where there is no such collection."""
        check_name(collection)
        description = self._home(collection) / "collection.json"
        try:
            if not self._home(collection).exists():
                raise missing_error(collection, str(self._directory))
            found = json.loads(description.read_bytes())
            if found["distance"] != _DISTANCE:
                raise ValueError(f"distance {found['distance']!r}")
            return int(found["dim"])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
            raise IndexCorruptError(str(description), f"unreadable: {error}", _rebuild(description.parent)) from error
        except OSError as error:
            raise self._unwritable(error) from error

    @contextmanager
    def _shard(self, collection: str, wait_s: float) -> Iterator[EdgeShard]:
        """The collection's open shard, to itself. Writers flush before they leave."""
        path = self._home(collection) / "shard"
        with hold_collection(self._locks, collection, wait_s) as left_s:
            shard = self._load(path, collection, wait_s, left_s)
            try:
                with self._engine_errors(path):
                    yield shard
            finally:
                shard.close()

    def _load(self, path: Path, collection: str, wait_s: float, left_s: float) -> EdgeShard:
        from qdrant_edge import EdgeShard

        deadline = time.monotonic() + left_s
        while True:
            try:
                with self._engine_errors(path):
                    return EdgeShard.load(str(path))
            except IndexCorruptError as error:
                # Open in a process that does not know of the locks: a notebook, say.
                if "WouldBlock" not in error.cause:
                    raise
                if time.monotonic() >= deadline:
                    raise busy_error(collection, wait_s) from error
            time.sleep(_OPEN_POLL_S)

    @contextmanager
    def _engine_errors(self, path: Path) -> Iterator[None]:
        """Turn the engine's errors, bare `Exception`s and Rust panics, into typed ones."""
        try:
            yield
        except BaseException as error:
            if type(error) is not Exception and type(error).__name__ != "PanicException":
                raise
            message = " ".join(str(error).split())
            if any(sign in message for sign in ("Permission denied", "Read-only file", "No space left")):
                raise self._unwritable(error) from error
            raise IndexCorruptError(str(path), f"the engine cannot use it: {message}", _rebuild(path.parent)) from error

    def _require_room(self) -> None:
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError as error:
            raise self._unwritable(error) from error
        if free < _RESERVE_BYTES:
            cause = f"has {free // 1_000_000} MB left on its disk, and needs {_RESERVE_BYTES // 1_000_000}"
            raise IndexUnwritableError(str(self._directory), cause, "Free space, or set another directory.")

    def _unwritable(self, error: BaseException) -> IndexUnwritableError:
        return IndexUnwritableError(
            str(self._directory),
            f"cannot be used: {error}",
            "Give the vector index a directory of its own that this user may write to, with room.",
        )


def _rebuild(home: Path) -> str:
    return f"Delete {home} and materialize vector_index again; no frame is embedded anew."


def _index_fields(shard: EdgeShard) -> None:
    from qdrant_edge import PayloadSchemaType, UpdateOperation

    for field in INDEXED_FIELDS.keys() - shard.info().payload_schema.keys():
        kind = getattr(PayloadSchemaType, INDEXED_FIELDS[field].capitalize())
        shard.update(UpdateOperation.create_field_index(field, kind))
    shard.flush()


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

"""`vector_index`: the partition's vectors as points of each model's collection, and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Set
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from video_assets.embedding.embedder import embedder_identity
from video_assets.keys import Partition, content_id
from video_assets.settings import Settings
from video_assets.stages.embeddings import FRAME_COLUMNS, VECTOR_COLUMNS, read_vectors
from video_assets.stages.items import Report
from video_assets.table_store.table_store import Fold, TableError, TableStore
from video_assets.tables import OK, VECTOR_INDEX
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.sync import sync_partition
from video_assets.vectors.vector_index import Point, PointFilter, VectorIndex, epoch_us, point_id

CODE_VERSION = "1"
"""Raised when the same vectors would give other points or rows."""

_PAYLOAD = (*FRAME_COLUMNS, "model", "model_version", "labels")


def build_index(
    partition: Partition,
    embeddings: Callable[[], pa.Table],
    *,
    tables: TableStore,
    settings: Settings,
    report: Report,
) -> Fold:
    """Makes the index hold exactly the partition's ok vectors. Only missing or changed points are read and written.

    A model that is no longer set, but was, loses the partition's points.
    """
    index = open_vector_index(settings.index, api_key=settings.qdrant_api_key)
    try:
        with tables.writer(VECTOR_INDEX, partition):
            base = tables.version(VECTOR_INDEX, partition)
            upstream = embeddings()
            models = sorted({*settings.embed_models, *_indexed_models(tables, partition)})
            rows, made = [], 0
            for model in models:
                mine = upstream.filter((pc.field("model") == model) & (pc.field("status") == OK))
                row, changed = _sync_model(index, model, partition, mine)
                rows.append(row)
                made += changed
                report(f"vector_index: {model}: {row['points']} points, {changed} changed")
    finally:
        index.close()
    return Fold(VECTOR_INDEX, partition, VECTOR_INDEX.rows(rows), base, made=made, upstream=upstream)


def _indexed_models(tables: TableStore, partition: Partition) -> set[str]:
    """The models that the partition has points of, by the earlier commit."""
    try:
        return set(tables.read(VECTOR_INDEX, partition)["model"].to_pylist())
    except TableError:
        return set()


def _sync_model(index: VectorIndex, model: str, partition: Partition, rows: pa.Table) -> tuple[dict[str, Any], int]:
    assert partition.vehicle is not None
    version, dim = embedder_identity(model)
    columns = [*_PAYLOAD, *VECTOR_COLUMNS]
    by_id = {point_id(model, row["model_version"], row["image_id"]): row for row in rows.select(columns).to_pylist()}
    payloads = {point: _payload(row) for point, row in by_id.items()}
    wanted = {point: content_id("point", repr(payloads[point]), _vector_of(row)) for point, row in by_id.items()}

    def load(ids: Set[str]) -> Iterator[Point]:
        for point, vector in read_vectors({point: by_id[point] for point in ids}):
            yield Point(point, vector, payloads[point])

    with index.session(model):
        index.ensure(model, dim)
        result = sync_partition(index, model, partition.date, partition.vehicle, wanted, load)
        points = index.count(model, where=PointFilter(date=partition.date, vehicle=partition.vehicle))
    row = {
        "model": model,
        "model_version": version,
        "collection": model,
        "vectors": len(wanted),
        "points": points,
        "points_fingerprint": hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()[:32],
        "status": OK,
        "attempts": 1,
    }
    return row, result.upserted + result.removed


def _vector_of(row: dict[str, Any]) -> str:
    """Names the vector: the item that made it, whose id changes with whatever changes the vector, and its row."""
    return f"{row['vectors_uri'].rsplit('/', 1)[1]}#{row['vector_row']}"


def _payload(row: dict[str, Any]) -> dict[str, Any]:
    """What a search result shows, and is filtered by. Times are integers: microseconds since 1970."""
    payload = {name: row[name] for name in _PAYLOAD if row[name] is not None}
    if isinstance(captured_at := payload.get("captured_at"), datetime):
        payload["captured_at"] = epoch_us(captured_at)
    return payload

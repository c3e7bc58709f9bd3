"""`vector_index`: the partition's vectors as points of each model's collection, and no others."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack, closing, contextmanager, nullcontext
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from video_assets.embedding.embedder import embedder_identity
from video_assets.keys import Partition, content_id, without_endpoint
from video_assets.settings import Settings
from video_assets.stages.embeddings import FRAME_COLUMNS, VECTOR_COLUMNS, Place, read_vectors
from video_assets.stages.items import Report
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import Fold, TableError, TableStore, fingerprint
from video_assets.tables import EMBEDDINGS, OK, VECTOR_INDEX
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.sync import sync_partition
from video_assets.vectors.vector_index import Point, PointFilter, VectorIndex, point_id

CODE_VERSION = "1"
"""Raised when the same vectors would give other points or rows."""

_PAYLOAD = (*FRAME_COLUMNS, "model", "model_version", "labels")
_URIS = ("video_path", "image_url")
"""Of the payload, what is a URI. Searches say them through the endpoint that is set."""

_ROWS = 1_000

OpenIndex = VectorIndex
"""An index that `opened_index` has opened."""


def recipe(settings: Settings) -> Recipe:
    """What decides the points besides the vectors: another index has none of them yet."""
    return Recipe(CODE_VERSION, {"models": ",".join(sorted(settings.embed_models)), "index": settings.index})


@contextmanager
def opened_index(settings: Settings) -> Iterator[OpenIndex]:
    """The index of the settings, for several calls of `build_index`: to open it can take longer than a partition."""
    index = open_vector_index(settings.index, api_key=settings.qdrant_api_key)
    with closing(index), ExitStack() as sessions:
        for model in settings.embed_models:
            sessions.enter_context(index.session(model))
        yield index


def build_index(
    partition: Partition,
    embeddings: Callable[[], pa.Table],
    *,
    tables: TableStore,
    settings: Settings,
    report: Report,
    index: OpenIndex | None = None,
) -> Fold:
    """Makes the index hold exactly the partition's ok vectors. Only missing or changed points are read and written.

    A model that is no longer set, but was, loses the partition's points. An `index` that is given stays open.
    """
    with (
        nullcontext(index) if index is not None else opened_index(settings) as opened,
        tables.writer(VECTOR_INDEX, partition),
    ):
        begun = time.monotonic()
        base = tables.version(VECTOR_INDEX, partition)
        upstream = embeddings()
        models = sorted({*settings.embed_models, *_indexed_models(tables, partition)})
        rows, made = [], 0
        for model in models:
            mine = upstream.filter((pc.field("model") == model) & (pc.field("status") == OK))
            row, changed = _sync_model(opened, model, partition, mine)
            rows.append(row)
            made += changed
            report(f"vector_index: {model}: {row['points']} points, {changed} changed")
    return Fold(
        VECTOR_INDEX,
        partition,
        VECTOR_INDEX.rows(rows),
        base,
        made=made,
        upstream=upstream,
        upstream_version=fingerprint(EMBEDDINGS, upstream),
        recipe=recipe(settings),
        seconds=time.monotonic() - begun,
    )


def _indexed_models(tables: TableStore, partition: Partition) -> set[str]:
    """The models that the partition has points of, by the earlier commit."""
    try:
        return set(tables.read(VECTOR_INDEX, partition)["model"].to_pylist())
    except TableError:
        return set()


def _sync_model(index: VectorIndex, model: str, partition: Partition, rows: pa.Table) -> tuple[dict[str, Any], int]:
    assert partition.vehicle is not None
    version, dim = embedder_identity(model)
    payloads: dict[str, dict[str, Any]] = {}
    places: dict[str, Place] = {}
    wanted: dict[str, str] = {}
    for payload, place in _payloads(rows):
        point = point_id(model, payload["model_version"], payload["image_id"])
        payloads[point], places[point] = payload, place
        wanted[point] = content_id("point", repr(_named(payload)), _name_of(place))

    def load(ids: Set[str]) -> Iterator[Point]:
        for point, vector in read_vectors({point: places[point] for point in ids}):
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


def _payloads(rows: pa.Table) -> Iterator[tuple[dict[str, Any], Place]]:
    """What search results show and are filtered by, and where the vectors lie. Times are integers: microseconds since
    1970. A few rows at a time, since a row takes many times the room as Python objects.
    """
    at = rows.schema.get_field_index("captured_at")
    rows = rows.set_column(at, "captured_at", rows["captured_at"].cast(pa.int64()))
    for batch in rows.select([*_PAYLOAD, *VECTOR_COLUMNS]).to_batches(max_chunksize=_ROWS):
        for row in batch.to_pylist():
            place = Place(row.pop("vectors_uri"), row.pop("vector_row"))
            yield {name: value for name, value in row.items() if value is not None}, place


def _named(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload as what it names: another endpoint of the same bucket is no reason to write a point again."""
    return {name: without_endpoint(value) if name in _URIS else value for name, value in payload.items()}


def _name_of(place: Place) -> str:
    """Names the vector: the item that made it, whose id changes with whatever changes the vector, and its row."""
    return f"{place.vectors_uri.rsplit('/', 1)[1]}#{place.vector_row}"

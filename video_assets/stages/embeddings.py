"""`embeddings`: each frame as a unit vector, for each model. The item record, a Parquet file, is where vectors live."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from video_assets.embedding.embedder import embedder_identity, open_embedder
from video_assets.keys import Partition, content_id
from video_assets.settings import Settings
from video_assets.stages.images import read_images
from video_assets.stages.items import Item, Outcome, Report, Row, run_stage
from video_assets.storage.registry import open_store, split_uri
from video_assets.table_store.items import ItemRecords
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import EMBEDDINGS, OK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CODE_VERSION = "1"
"""Raised when the same frames and model would give other vectors or rows."""

BATCH = 16
"""Frames handed to the model at a time."""

FRAME_COLUMNS = (
    "image_id",
    "clip_id",
    "video_path",
    "camera",
    "frame_idx",
    "pts_s",
    "captured_at",
    "image_url",
    "image_offset",
    "image_size_bytes",
)
"""What is carried over from a frame: what it shows, and where it is."""

VECTOR_COLUMNS = ("vectors_uri", "vector_row")
"""Where a row's vector lies: a `Place`."""


class Place(NamedTuple):
    """Where a vector lies: the Parquet file, and the row in it."""

    vectors_uri: str
    vector_row: int


@dataclass(frozen=True, slots=True)
class EmbedTask:
    """The frames of one clip, for one model."""

    model: str
    model_cache: Path | None
    frames: tuple[dict[str, Any], ...]
    vectors_uri: str


def code_version(models: Iterable[str]) -> str:
    """The version of the code and of every model, for the asset."""
    return ",".join([CODE_VERSION, *_versions(models)])


def recipe(settings: Settings) -> Recipe:
    """What decides the table besides the frames."""
    return Recipe(CODE_VERSION, {"models": ",".join(sorted(_versions(settings.embed_models)))})


def _versions(models: Iterable[str]) -> list[str]:
    return [f"{model}@{embedder_identity(model).version}" for model in models]


def build_embeddings(
    partition: Partition,
    frames: Callable[[], pa.Table],
    *,
    tables: TableStore,
    settings: Settings,
    report: Report,
) -> Fold:
    """One item for each clip and model; a model added later embeds without touching the others."""
    return run_stage(
        EMBEDDINGS,
        partition,
        frames,
        embedding_items(partition, settings),
        embed_clip,
        recipe=recipe(settings),
        tables=tables,
        settings=settings,
        report=report,
    )


def embedding_items(partition: Partition, settings: Settings) -> Callable[[pa.Table], Iterator[Item]]:
    """From rows of `frames` to the items that `embed_clip` works on."""
    records = ItemRecords(open_store(settings.store), EMBEDDINGS, partition)

    def items(rows: pa.Table) -> Iterator[Item]:
        good = [row for row in rows.to_pylist() if row["status"] == OK]
        by_clip = [list(group) for _, group in groupby(good, key=lambda row: (row["video_path"], row["clip_id"]))]
        return (_item(model, group, records, settings) for model in settings.embed_models for group in by_clip)

    return items


def _item(model: str, frames: list[Row], records: ItemRecords, settings: Settings) -> Item:
    version, dim = embedder_identity(model)
    item_id = content_id("embedding", model, version, CODE_VERSION, *(row["image_id"] for row in frames))
    first = frames[0]
    identity = {name: first[name] for name in ("clip_id", "video_path", "camera")}
    identity |= {"model": model, "model_version": version, "dim": dim}
    by_image = {frame["image_id"]: {name: frame[name] for name in FRAME_COLUMNS} for frame in frames}
    vectors_uri = records.uri(item_id)

    def facts(row: Row) -> Row:
        if row["image_id"] is None:
            return identity
        return {**identity, **by_image[row["image_id"]], "vectors_uri": vectors_uri}

    return Item(item_id, EmbedTask(model, settings.model_cache, tuple(by_image.values()), vectors_uri), identity, facts)


def embed_clip(task: EmbedTask) -> Outcome:
    """Reads, decodes and embeds the frames of a clip. Rows and vectors are matched by position in one list."""
    import numpy as np

    embedder = open_embedder(task.model, model_cache=task.model_cache)
    frames = iter(task.frames)
    batches: list[NDArray[np.float32]] = []
    while batch := list(islice(frames, BATCH)):
        batches.append(embedder.embed_images(read_images(batch)))
    vectors = np.concatenate(batches)
    rows = [
        {
            **frame,
            "model": embedder.name,
            "model_version": embedder.version,
            "dim": embedder.dim,
            "labels": labels,
            "vectors_uri": task.vectors_uri,
            "vector_row": number,
            "status": OK,
        }
        for number, (frame, labels) in enumerate(zip(task.frames, embedder.labels(vectors), strict=True))
    ]
    table = EMBEDDINGS.rows(rows)
    size = sum(frame["image_size_bytes"] for frame in task.frames)
    return Outcome(with_vectors(table, vectors), size_bytes=size)


def with_vectors(rows: pa.Table, vectors: NDArray[np.float32]) -> pa.Table:
    """The rows with their vectors, rows × dimensions, as the records keep them."""
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False), vectors.shape[1])
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=kind)
    return rows.append_column(pa.field("vector", kind, nullable=False), column)


def read_vectors(places: Mapping[str, Place]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The vectors at these places, each with its place's key, file by file; the next file is read meanwhile."""
    in_order = sorted((*place, key) for key, place in places.items())
    files = [(uri, list(group)) for uri, group in groupby(in_order, key=lambda place: place[0])]
    for (_, group), vectors in zip(files, _one_ahead(uri for uri, _ in files), strict=True):
        for _, number, key in group:
            yield key, vectors[number]


def _one_ahead(uris: Iterable[str]) -> Iterator[NDArray[np.float32]]:
    with ThreadPoolExecutor(1) as reader:
        coming: deque[Future[NDArray[np.float32]]] = deque()
        for uri in uris:
            coming.append(reader.submit(_vectors_of, uri))
            if len(coming) > 1:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _vectors_of(uri: str) -> NDArray[np.float32]:
    """Rows × dimensions of a record."""
    import pyarrow.parquet as pq

    root, key = split_uri(uri)
    # The vectors are nearly all of the file: one request, where reading the column alone would take several. Without
    # Arrow's own threads: one that still gives back the buffer when the interpreter ends kills the process.
    file = pq.ParquetFile(pa.BufferReader(open_store(root).get(key)), pre_buffer=False)
    column = file.read(columns=["vector"], use_threads=False)["vector"].combine_chunks()
    vectors: NDArray[np.float32] = column.flatten().to_numpy().reshape(len(column), -1)
    return vectors

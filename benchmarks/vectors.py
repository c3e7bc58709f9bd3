"""An embeddings partition of any size, made without pictures: random unit vectors in records like the stage's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.footage import PARTITION
from video_assets.embedding.embedder import embedder_identity
from video_assets.embedding.mobilenet import NAME as MODEL
from video_assets.stages.embeddings import with_vectors
from video_assets.table_store.items import ItemRecord, ItemRecords
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import Fold
from video_assets.tables import EMBEDDINGS, OK

CLIP_FRAMES = 300
"""A clip of 5 minutes at one frame a second."""

_BEGIN = datetime.fromisoformat(f"{PARTITION.date}T00:00:00").replace(tzinfo=UTC)


def make_vectors(tables: ParquetTables, points: int) -> None:
    """Commits the partition: one record for each clip, and the table that names them."""
    records = ItemRecords(tables.store, EMBEDDINGS, PARTITION)
    random = np.random.default_rng(1)
    version, dim = embedder_identity(MODEL)
    made = []
    for clip, first in enumerate(range(0, points, CLIP_FRAMES)):
        item_id = f"{clip:032x}"
        facts = {"model": MODEL, "model_version": version, "dim": dim, "vectors_uri": records.uri(item_id)}
        rows = EMBEDDINGS.rows([{**facts, **row} for row in _rows(clip, min(CLIP_FRAMES, points - first))])
        vectors = random.standard_normal((len(rows), dim), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        records.publish(ItemRecord(item_id, with_vectors(rows, vectors), OK, attempts=1))
        made.append(rows)
    tables.commit(Fold(EMBEDDINGS, PARTITION, pa.concat_tables(made), base=None))


def _rows(clip: int, frames: int) -> Iterator[dict[str, Any]]:
    clip_id = f"{clip:032x}"
    begin = _BEGIN + timedelta(seconds=clip * CLIP_FRAMES)
    for number in range(frames):
        yield {
            "image_id": f"{clip:016x}{number:016x}",
            "clip_id": clip_id,
            "video_path": f"file:///uploads/{PARTITION.vehicle}/{PARTITION.date}/front/{begin:%H%M%S}.mp4",
            "camera": "front",
            "frame_idx": number,
            "pts_s": float(number),
            "captured_at": begin + timedelta(seconds=number),
            "image_url": f"file:///store/frames/blobs/{clip_id}.tar",
            "image_offset": 512 + number * 100_352,
            "image_size_bytes": 99_000,
            "labels": ["minivan", "traffic light", "street sign"],
            "vector_row": number,
            "status": OK,
            "attempts": 1,
        }

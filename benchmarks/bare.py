"""The other side: each stage's work without the stage, by the engine, the model and the index alone.

Workers are as many as the stage has and in the state in which the stage finds its own: running, with what earlier
stages imported. What a stage imports or loads first is on both clocks.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from video_assets.embedding.mobilenet import FOLDER, network_size
from video_assets.vectors.collection import INDEXED_FIELDS

T = TypeVar("T")
R = TypeVar("R")

BATCH = 16
"""Pictures per run of the network, as in the stage."""

_START_TIMEOUT_S = 60


class Images(NamedTuple):
    """Where the images of one clip lie: (offset, size) of each in the tar."""

    tar: Path
    ranges: tuple[tuple[int, int], ...]


class Points(NamedTuple):
    """What an index holds, in memory."""

    ids: list[str]
    vectors: NDArray[np.float32]
    payloads: list[dict[str, Any]]

    def equal(self, other: Points) -> bool:
        """Whether both hold the same points, in whatever order."""
        mine, others = (sorted(zip(p.ids, p.payloads, p.vectors.tolist(), strict=True)) for p in (self, other))
        return len(mine) == len(others) and all(
            a[:2] == b[:2] and np.allclose(a[2], b[2], atol=1e-6) for a, b in zip(mine, others, strict=True)
        )


class Workers:
    """Worker processes of the bare work, all running before any clock does."""

    def __init__(self, count: int) -> None:
        context = get_context("spawn")
        started = context.Barrier(count + 1)
        self._pool = context.Pool(count, started.wait)
        started.wait(_START_TIMEOUT_S)

    def timed(self, function: Callable[[T], R], items: Iterable[T]) -> tuple[list[R], float]:
        """Results in the order of the items, one item at a time to each worker, and the seconds that all took."""
        begun = time.perf_counter()
        results = list(self._pool.imap(function, items))
        return results, time.perf_counter() - begun

    def close(self) -> None:
        self._pool.close()
        self._pool.join()


def list_videos(root: Path) -> float:
    """`video_manifest`: every file below a folder with its size and time. Seconds."""
    begun = time.perf_counter()
    for folder, _, names in os.walk(root):
        for name in names:
            os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118
    return time.perf_counter() - begun


def copy_clip(paths: tuple[Path, Path]) -> str:
    """`clips`: a copy that survives a power cut, its checksum, and the engine's index of its packets."""
    from video_assets.video.index import index_video

    source, target = paths
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    shutil.copyfile(source, target)
    with target.open("rb") as copied:
        os.fsync(copied.fileno())
    index_video(target)
    return digest


def decode_clip(clip: Path) -> float:
    """`frames`: the engine on one clip at one frame a second, images left in memory. Seconds of CPU."""
    from video_assets.video.extract import FrameExtraction
    from video_assets.video.sampling import EverySeconds

    begun = time.process_time()
    for _ in FrameExtraction(clip, EverySeconds.at_rate(1)):
        pass
    return time.process_time() - begun


def embed_images(images: Images) -> NDArray[np.float32]:
    """`embeddings`: onnxruntime on the images of one clip. Unit vectors."""
    from PIL import Image

    session = _session()
    features = []
    with images.tar.open("rb") as tar:
        for start in range(0, len(images.ranges), BATCH):
            batch = []
            for offset, size in images.ranges[start : start + BATCH]:
                tar.seek(offset)
                picture = Image.open(io.BytesIO(tar.read(size))).convert("RGB")
                height, width = network_size(picture.height, picture.width)
                resized = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
                batch.append(np.asarray(resized))
            features.append(session.run(["features"], {"images": np.stack(batch)})[0])
    raw = np.concatenate(features)
    unit: NDArray[np.float32] = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit


_sessions: list[Any] = []


def _session() -> Any:
    """This worker's session: one thread, as in the stage."""
    if not _sessions:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = str(FOLDER / "model.onnx")
        _sessions.append(onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))
    return _sessions[0]


def index_points(task: tuple[Points, Path]) -> float:
    """`vector_index`: a new qdrant-edge shard with the same payload indexes, and all points in one upsert. Seconds."""
    points, folder = task
    begun = time.perf_counter()
    from qdrant_edge import (
        Distance,
        EdgeConfig,
        EdgeShard,
        EdgeVectorParams,
        PayloadSchemaType,
        Point,
        UpdateOperation,
    )

    folder.mkdir()
    dim = points.vectors.shape[1]
    shard = EdgeShard.create(str(folder), EdgeConfig(vectors=EdgeVectorParams(size=dim, distance=Distance.Cosine)))
    for field, kind in INDEXED_FIELDS.items():
        shard.update(UpdateOperation.create_field_index(field, getattr(PayloadSchemaType, kind.capitalize())))
    rows = zip(points.ids, points.vectors, points.payloads, strict=True)
    shard.update(UpdateOperation.upsert_points([Point(i, vector.tolist(), payload) for i, vector, payload in rows]))
    shard.flush()
    shard.close()
    return time.perf_counter() - begun


def points_of(shard_folder: Path) -> Points:
    """Everything in a shard."""
    from qdrant_edge import EdgeShard, ScrollRequest

    shard = EdgeShard.load(str(shard_folder))
    records, rest = shard.scroll(ScrollRequest(limit=1_000_000, with_payload=True, with_vector=True))
    shard.close()
    assert rest is None
    vectors = np.array([record.vector for record in records], np.float32)
    return Points([str(record.id) for record in records], vectors, [dict(record.payload or {}) for record in records])

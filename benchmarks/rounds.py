"""One round: every stage by us, then the same work by its peer, from nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks import bare
from benchmarks.footage import PARTITION, Footage
from benchmarks.ours import Deployment, cpu_s, extract_command
from benchmarks.vectors import make_vectors
from video_assets.embedding.mobilenet import NAME as MODEL
from video_assets.storage.registry import open_store, split_uri
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import CLIPS, FRAMES


class WorkDiffers(Exception):
    """The peer did not do the work that we did, so their times do not compare."""


@dataclass(frozen=True, slots=True)
class LargeIndex:
    """Seconds of indexing this many points; `empty_step_s` is what an empty step took in that process."""

    points: int
    stage_s: float
    empty_step_s: float
    bare_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds by stage, ours and bare, and of an empty step; CPU seconds of extracting every clip in three ways."""

    stage_s: dict[str, float]
    bare_s: dict[str, float]
    empty_step_s: float
    large: LargeIndex
    stage_cpu_s: float
    extract_cpu_s: float
    ffmpeg_cpu_s: float


def run_round(footage: Footage, folder: Path, workers: int, points: int) -> Round:
    """Everything once. The folder is made, and removed again.

    Raises:
        WorkDiffers: vectors or points of the peers are not ours.
        CalledProcessError: a process failed; its own message is on stderr.
    """
    folder.mkdir()
    ours = Deployment(footage, folder / "home", workers)
    stage_s, empty_step_s = ours.run_chain()
    bare_s = _bare_work(ours, folder)
    extract_s, ffmpeg_s = _extraction(footage, folder)
    stage_cpu_s = ours.frames_stage_cpu_s(folder / "frames-again")
    large = _large_index(Deployment(footage, folder / "large", workers), points)
    shutil.rmtree(folder)
    return Round(stage_s, bare_s, empty_step_s, large, stage_cpu_s, extract_s, ffmpeg_s)


def _large_index(ours: Deployment, points: int) -> LargeIndex:
    """The index where a step's fixed cost no longer matters: generated vectors, in a home of their own."""
    make_vectors(ParquetTables(open_store(ours.store, create=True)), points)
    stage_s, empty_step_s = ours.index_vectors()
    made = bare.points_of(ours.index / MODEL / "shard")
    pool = bare.Workers(1)
    try:
        (bare_s,), _ = pool.timed(bare.index_points, [(made, ours.home / "shard")])
    finally:
        pool.close()
    if len(made.ids) != points or not bare.points_of(ours.home / "shard").equal(made):
        raise WorkDiffers("bare qdrant-edge holds other points than the vector_index stage wrote")
    return LargeIndex(points, stage_s, empty_step_s, bare_s)


def _bare_work(ours: Deployment, folder: Path) -> dict[str, float]:
    clips, images, image_ids = _made(ours)
    points = bare.points_of(ours.index / MODEL / "shard")
    copies = [(clip, folder / f"copy-{number}.mp4") for number, clip in enumerate(ours.footage.clips)]
    pool = bare.Workers(ours.workers)
    try:
        _, copy_s = pool.timed(bare.copy_clip, copies)
        _, decode_s = pool.timed(bare.decode_clip, clips)
        found, embed_s = pool.timed(bare.embed_images, images)
        (index_s,), _ = pool.timed(bare.index_points, [(points, folder / "shard")])
    finally:
        pool.close()
    vectors = {payload["image_id"]: vector for payload, vector in zip(points.payloads, points.vectors, strict=True)}
    if not np.allclose(np.concatenate(found), np.stack([vectors[i] for i in image_ids]), atol=1e-4):
        raise WorkDiffers("bare onnxruntime gives other vectors than the embeddings stage")
    if not bare.points_of(folder / "shard").equal(points):
        raise WorkDiffers("bare qdrant-edge holds other points than the vector_index stage wrote")
    return {
        "video_manifest": bare.list_videos(ours.footage.root),
        "clips": copy_s,
        "frames": decode_s,
        "embeddings": embed_s,
        "vector_index": index_s,
    }


def _made(ours: Deployment) -> tuple[list[Path], list[bare.Images], list[str]]:
    """The clips; where the frames of each lie, clip by clip; and the ids of those frames."""
    clips = [_path(row["clip_uri"]) for row in ours.tables.read(CLIPS, PARTITION).to_pylist()]
    frames = ours.tables.read(FRAMES, PARTITION).to_pylist()
    images = [
        bare.Images(_path(uri), tuple((row["image_offset"], row["image_size_bytes"]) for row in rows))
        for uri, rows in groupby(frames, key=lambda row: str(row["image_url"]))
    ]
    return clips, images, [row["image_id"] for row in frames]


def _path(uri: str) -> Path:
    root, key = split_uri(uri)
    return Path(root.removeprefix("file://")) / key


def _extraction(footage: Footage, folder: Path) -> tuple[float, float]:
    """CPU of our command line and of ffmpeg's, taking turns clip by clip."""
    ours = theirs = 0.0
    for number, clip in enumerate(footage.clips):
        out = folder / f"ffmpeg-{number}"
        out.mkdir()
        ours += cpu_s(extract_command(clip, folder / f"extract-{number}"))
        theirs += cpu_s(
            ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(clip), "-vf", "fps=1", "-q:v", "2", f"{out}/out%d.jpg"]
        )
    return ours, theirs

"""The stages over one partition, without Dagster."""

from __future__ import annotations

from functools import partial

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.clips import build_clips
from video_assets.stages.embeddings import build_embeddings
from video_assets.stages.frames import build_frames
from video_assets.stages.manifest import build_manifest
from video_assets.stages.vector_index import build_index
from video_assets.table_store.registry import open_tables
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, VIDEO_MANIFEST

DAY = Partition("2026-01-03", "veh-7")


def run_chain(settings: Settings, partition_key: str = DAY.key) -> dict[str, Fold]:
    """Makes and commits the partition's tables one after the other; what each was made of, by the table's name."""
    partition, tables = Partition.from_key(partition_key), open_tables(settings, create=True)
    folds = {"video_manifest": build_manifest(partition, tables=tables, settings=settings).fold}
    tables.commit(folds["video_manifest"])
    for upstream, name, stage in (
        (VIDEO_MANIFEST, "clips", build_clips),
        (CLIPS, "frames", build_frames),
        (FRAMES, "embeddings", build_embeddings),
        (EMBEDDINGS, "vector_index", build_index),
    ):
        read = partial(tables.read, upstream, partition)
        folds[name] = stage(partition, read, tables=tables, settings=settings, report=lambda line: None)
        tables.commit(folds[name])
    return folds

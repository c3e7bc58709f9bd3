"""A process that commits a partition again and again until it is killed; each time all rows are of one generation."""

from __future__ import annotations

from multiprocessing.synchronize import Event

import pyarrow as pa

from video_assets.tables import VIDEO_MANIFEST
from video_assets_tests.table_store.table_store_contract import DAY, Opener, commit, videos

ROWS = 500


def rows_of(generation: int) -> pa.Table:
    """The rows of one commit."""
    return videos(*(f"file:///{number:04d}-{generation}" for number in range(ROWS)))


def generation_of(rows: pa.Table) -> int:
    """Which commit rows are of; fails if they are of several, or not all."""
    (generation,) = {int(path.rpartition("-")[2]) for path in rows["video_path"].to_pylist()}
    assert rows.equals(rows_of(generation))
    return generation


def commit_for_ever(opener: Opener, begun: Event) -> None:
    """Goes on from the generation that is there."""
    tables = opener()
    there = tables.version(VIDEO_MANIFEST, DAY) is not None
    generation = generation_of(tables.read(VIDEO_MANIFEST, DAY)) if there else 0
    while True:
        generation += 1
        commit(tables, rows_of(generation))
        begun.set()

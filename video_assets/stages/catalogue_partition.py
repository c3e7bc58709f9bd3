"""Videos of a partition through the stages: each alone, ahead of the tables, and then into the tables together.

`work_ahead` works on items of one video, in several processes and on several machines at a time, since who calls has
the video in hand alone. `publish` is a run of every stage over the partition, one at a time; it finds the records of
these items and has little left to do but to fold, commit and index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.listing import Listing
from video_assets.sources.partition_scan import Upload
from video_assets.stages.clips import build_clips, clip_items, make_clip
from video_assets.stages.embeddings import build_embeddings, embed_clip, embedding_items
from video_assets.stages.frames import build_frames, frame_items, make_frames, require_sampling
from video_assets.stages.items import Report, work_ahead
from video_assets.stages.manifest import add_to_manifest
from video_assets.stages.manifest_rows import manifest_rows
from video_assets.stages.vector_index import build_index
from video_assets.storage.registry import open_store
from video_assets.table_store.table_store import WRITER_WAIT_S, CommitConflict, Fold, TableStore
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, MADE_OF, VECTOR_INDEX

COMMIT_ATTEMPTS = 3
"""A run of Dagster's may commit the partition meanwhile; what that one left is then read anew."""

_STAGES = (
    (CLIPS, build_clips),
    (FRAMES, build_frames),
    (EMBEDDINGS, build_embeddings),
    (VECTOR_INDEX, build_index),
)


@dataclass(frozen=True)
class PartitionVideos:
    """Videos of partitions on their way through the stages. `listing` is where they were found."""

    listing: Listing
    tables: TableStore
    settings: Settings

    def ahead(self, partition: Partition, upload: Upload) -> None:
        """Makes clips, frames and vectors of one video; its records are durable then, and in no table yet.

        Raises:
            StageStopped: the store or a model is away; the video is not to blame.
        """
        require_sampling(self.settings)
        # One at a time: others are in other hands.
        settings = self.settings.model_copy(update={"workers": 1})
        work = partial(work_ahead, settings=settings, report=_nobody)
        rows: pa.Table = manifest_rows([upload], self.listing)
        rows = work(CLIPS, partition, clip_items(partition, settings)(rows), make_clip)
        rows = work(FRAMES, partition, frame_items(partition, settings)(rows), make_frames)
        work(EMBEDDINGS, partition, embedding_items(partition, settings)(rows), embed_clip)

    def publish(self, partition: Partition, uploads: Iterable[Upload], report: Report) -> None:
        """Adds videos to the partition's manifest, and brings its tables and points up to that.

        Raises:
            StageStopped, CommitConflict, LockTimeout: run it again; what is done is kept.
        """
        some = list(uploads)
        store = open_store(self.settings.store)
        # Of those who publish one partition at a time all but one would find that another has committed meanwhile.
        with store.lock(f"catalogue/{partition.path}", timeout_s=WRITER_WAIT_S):
            self._commit(
                lambda: add_to_manifest(partition, some, self.listing, tables=self.tables, settings=self.settings)
            )
            for table, build in _STAGES:
                read = partial(self.tables.read, MADE_OF[table.name], partition)
                self._commit(partial(build, partition, read, tables=self.tables, settings=self.settings, report=report))

    def _commit(self, build: Callable[[], Fold]) -> None:
        for attempt in range(1, COMMIT_ATTEMPTS + 1):
            try:
                self.tables.commit(build())
                return
            except CommitConflict:
                if attempt == COMMIT_ATTEMPTS:
                    raise


def _nobody(line: str) -> None:
    pass

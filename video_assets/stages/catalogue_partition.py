"""Videos of a partition through the stages: each alone, ahead of the tables, and then into the tables together.

`ahead` works on items of one video, in several processes and on several machines at a time, since who calls has the
video in hand alone. `publish` puts the rows of such videos into the partition's tables and index, and works on none:
what has failed waits for its record's next attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from video_assets.keys import Partition, without_endpoint
from video_assets.settings import Settings
from video_assets.sources.listing import Listing
from video_assets.sources.partition_scan import Upload
from video_assets.stages import clips, embeddings, frames
from video_assets.stages.additions import Change, added
from video_assets.stages.clips import clip_items, make_clip
from video_assets.stages.embeddings import embed_clip, embedding_items
from video_assets.stages.frames import frame_items, make_frames, require_sampling
from video_assets.stages.items import Report, work_ahead
from video_assets.stages.manifest import add_to_manifest
from video_assets.stages.manifest_rows import manifest_rows
from video_assets.stages.vector_index import build_index
from video_assets.storage.registry import open_store
from video_assets.table_store.table_store import WRITER_WAIT_S, CommitConflict, Fold, TableStore
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, MADE_OF, VECTOR_INDEX, Table

COMMIT_ATTEMPTS = 3
"""A run of Dagster's may commit the partition meanwhile; what that one left is then read anew."""

_BUILDS = {
    CLIPS.name: clips.build_clips,
    FRAMES.name: frames.build_frames,
    EMBEDDINGS.name: embeddings.build_embeddings,
}
_RECIPES = {CLIPS.name: clips.recipe, FRAMES.name: frames.recipe, EMBEDDINGS.name: embeddings.recipe}


@dataclass(frozen=True, slots=True)
class VideoRows:
    """A video that was worked on, and its rows in each table."""

    upload: Upload
    clips: pa.Table
    frames: pa.Table
    embeddings: pa.Table

    def of(self, table: Table) -> pa.Table:
        """The rows of `clips`, `frames` or `embeddings`."""
        rows: pa.Table = getattr(self, table.name)
        return rows


@dataclass(frozen=True)
class PartitionVideos:
    """Videos of partitions on their way through the stages. `listing` is where they were found."""

    listing: Listing
    tables: TableStore
    settings: Settings

    def sweep(self) -> None:
        """Takes away what killed runs left half-written; nothing of a living one is touched."""
        open_store(self.settings.store).sweep()

    def ahead(self, partition: Partition, upload: Upload) -> VideoRows:
        """Makes clips, frames and vectors of one video, in `item_timeout_s` together; its records are durable then, and
        in no table yet.

        Raises:
            StageStopped: the store or a model is away; the video is not to blame.
        """
        require_sampling(self.settings)
        # One at a time: others are in other hands.
        settings = self.settings.model_copy(update={"workers": 1})
        deadline = time.monotonic() + settings.item_timeout_s
        work = partial(work_ahead, settings=settings, report=_nobody, deadline=deadline)
        rows: pa.Table = manifest_rows([upload], self.listing)
        made_clips = work(CLIPS, partition, clip_items(partition, settings)(rows), make_clip)
        made_frames = work(FRAMES, partition, frame_items(partition, settings)(made_clips), make_frames)
        vectors = work(EMBEDDINGS, partition, embedding_items(partition, settings)(made_frames), embed_clip)
        return VideoRows(upload, made_clips, made_frames, vectors)

    def publish(self, partition: Partition, videos: Sequence[VideoRows], report: Report) -> None:
        """Adds videos to the partition's manifest, and brings its tables and points up to that.

        Raises:
            StageStopped, CommitConflict, LockTimeout: run it again; what is done is kept.
        """
        store = open_store(self.settings.store)
        # Two records may name one video.
        videos = list({video.upload.info.key: video for video in videos}.values())
        # Of those who publish one partition at a time all but one would find that another has committed meanwhile.
        with store.lock(f"catalogue/{partition.path}", timeout_s=WRITER_WAIT_S):
            change = self._commit(partial(self._manifest, partition, videos))
            for table in (CLIPS, FRAMES, EMBEDDINGS):
                change = self._commit(partial(self._stage, table, change, videos, report))
            read = partial(self.tables.read, MADE_OF[VECTOR_INDEX.name], partition)
            index = partial(build_index, partition, read, tables=self.tables, settings=self.settings, report=report)
            self._commit(lambda is_first: Change(None, index(), is_addition=False))

    def _manifest(self, partition: Partition, videos: Sequence[VideoRows], is_first: bool) -> Change:
        uploads = [video.upload for video in videos]
        fold = add_to_manifest(partition, uploads, self.listing, tables=self.tables, settings=self.settings)
        return Change(self._data_version(fold), fold, is_addition=True)

    def _stage(
        self, table: Table, above: Change, videos: Sequence[VideoRows], report: Report, is_first: bool
    ) -> Change:
        """The stage's table with the videos in it; made as a whole where it is not that of what `above` replaced, or
        where another came between.
        """
        partition, recipe = above.fold.partition, _RECIPES[table.name](self.settings)
        assert partition is not None
        if is_first:
            store = open_store(self.settings.store)
            rows = pa.concat_tables([video.of(table) for video in videos])
            uris = [self.listing.store.uri_of(video.upload.info.key) for video in videos]
            paths = frozenset(map(without_endpoint, uris))
            fold = added(table, rows, above, paths, recipe=recipe, tables=self.tables, store=store)
            if fold is not None:
                return Change(self._data_version(fold), fold, is_addition=True)
        # Failed items of other records wait for those records' next attempts.
        settings = self.settings.model_copy(update={"max_attempts": 1})
        read = partial(self.tables.read, MADE_OF[table.name], partition)
        fold = _BUILDS[table.name](partition, read, tables=self.tables, settings=settings, report=report)
        return Change(None, fold, is_addition=False)

    def _data_version(self, fold: Fold) -> str | None:
        """That of the table which the fold replaces. If another has replaced it meanwhile, the commit is refused."""
        known = self.tables.provenance(fold.table, fold.partition)
        return known.data_version if known is not None else None

    def _commit(self, build: Callable[[bool], Change]) -> Change:
        """Commits what `build` gives, which is told whether it is asked for the first time."""
        for attempt in range(1, COMMIT_ATTEMPTS + 1):
            change = build(attempt == 1)
            try:
                self.tables.commit(change.fold)
                return change
            except CommitConflict:
                if attempt == COMMIT_ATTEMPTS:
                    raise
        raise AssertionError


def _nobody(line: str) -> None:
    pass

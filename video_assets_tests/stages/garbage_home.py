"""A home on any store, and a vehicle's day of uploads that change, for tests of garbage collection."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.clips import build_clips
from video_assets.stages.embeddings import build_embeddings
from video_assets.stages.frames import build_frames
from video_assets.stages.manifest import build_manifest
from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store
from video_assets.table_store.registry import open_tables
from video_assets.table_store.table_store import CommitConflict, Fold, PartitionNotFound, TableStore
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, VIDEO_MANIFEST
from video_assets_tests.video.make_video import make_video

DAY = Partition("2026-01-03", "veh-7")
ONLY_CLIPS = {CLIPS.name: (VIDEO_MANIFEST, build_clips)}
STAGES = {**ONLY_CLIPS, FRAMES.name: (CLIPS, build_frames)}
WITH_EMBEDDINGS = {**STAGES, EMBEDDINGS.name: (FRAMES, build_embeddings)}


@dataclass(frozen=True)
class Home:
    """Uploads below `root`, and a store at a URI. `variants` are videos that an upload may be, version and all."""

    root: Path
    store_uri: str
    variants: tuple[Path, ...]

    @classmethod
    def make(cls, root: Path, store_uri: str, variants: int = 3) -> Home:
        (root / "variants").mkdir(parents=True)
        paths = tuple(root / "variants" / f"{n}.mp4" for n in range(variants))
        for number, path in enumerate(paths):
            make_video(path, frames=20 + 5 * number, size=(48, 32))
            hour_ago = path.stat().st_mtime - 3600
            os.utime(path, (hour_ago, hour_ago))
        return cls(root, store_uri, paths)

    def put(self, camera: str, variant: int) -> None:
        """The upload of a camera is now this variant: the same version each time that it is the same one."""
        path = self.root / "uploads" / str(DAY.vehicle) / DAY.date / camera / "083000.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.urandom(4).hex()}")
        os.link(self.variants[variant], aside)
        aside.replace(path)
        # Renaming a file over another link of itself leaves both.
        aside.unlink(missing_ok=True)

    def settings(self, **changes: Any) -> Settings:
        places = {"source": str(self.root / "uploads"), "store": self.store_uri, "index": str(self.root / "index")}
        return Settings(**{**places, "workers": 1, "settle_s": 0, **changes})

    @property
    def store(self) -> ObjectStore:
        return open_store(self.store_uri, create=True)

    @property
    def tables(self) -> TableStore:
        return open_tables(self.settings(), create=True)

    def run(self, stages: dict[str, Any] = STAGES, **changes: Any) -> dict[str, Fold]:
        """The manifest and these stages, each committed; again where another run came between."""
        parts = {"tables": self.tables, "settings": self.settings(**changes)}
        folds = {VIDEO_MANIFEST.name: _committed(self.tables, partial(build_manifest_fold, **parts))}
        for name, (upstream, build) in stages.items():
            read = partial(self.tables.read, upstream, DAY)
            folds[name] = _committed(self.tables, partial(build, DAY, read, report=lambda line: None, **parts))
        return folds

    def objects(self) -> set[str]:
        return {info.key for info in self.store.list()}

    def missing(self) -> list[str]:
        """Objects that a committed table names and that are not there, though it is committed still."""
        faults = []
        for table, column in ((CLIPS, "clip_uri"), (FRAMES, "image_url")):
            version = self.tables.version(table, DAY)
            try:
                rows = self.tables.read(table, DAY).to_pylist()
            except PartitionNotFound:
                continue
            keys = {self.store.key_of(row[column]) for row in rows if row[column] is not None}
            keys |= {f"{table.name}/{DAY.path}/items/{row['item_id']}.parquet" for row in rows}
            there = self.objects()
            gone = sorted(key for key in keys if key is not None and key not in there)
            if gone and self.tables.version(table, DAY) == version:
                faults += gone
        return faults


def build_manifest_fold(**parts: Any) -> Fold:
    return build_manifest(DAY, **parts).fold


def _committed(tables: TableStore, build: Any) -> Fold:
    while True:
        fold: Fold = build()
        try:
            tables.commit(fold)
        except CommitConflict:
            continue
        return fold

"""One vehicle's day of uploads, and the stages up to frames over it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.clips import build_clips
from video_assets.stages.frames import build_frames
from video_assets.stages.manifest import Manifest, build_manifest
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, VIDEO_MANIFEST

DAY = Partition("2026-01-03", "veh-7")
EXTENSIONS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".h264")
PLACES = {"source": "uploads", "store": "store", "index": "index"}


@dataclass(frozen=True)
class Uploads:
    """A source folder and a store, both below `root`."""

    root: Path

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(str(self.root / "store"), create=True))

    def put(self, camera: str, data: bytes, suffix: str, start: str = "083000") -> Path:
        """An upload that has settled."""
        path = self.root / "uploads" / str(DAY.vehicle) / DAY.date / camera / f"{start}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (time.time() - 3600,) * 2)
        return path

    def settings(self, **changes: Any) -> Settings:
        places = {name: str(self.root / folder) for name, folder in PLACES.items()}
        return Settings(**{**places, "workers": 2, "video_extensions": EXTENSIONS, **changes})

    def manifest(self, **changes: Any) -> Manifest:
        manifest = build_manifest(DAY, tables=self.tables, settings=self.settings(**changes))
        self.tables.commit(manifest.fold)
        return manifest

    def clips(self, **changes: Any) -> Fold:
        fold = build_clips(DAY, partial(self.tables.read, VIDEO_MANIFEST, DAY), **self._parts(changes))
        self.tables.commit(fold)
        return fold

    def frames(self, **changes: Any) -> Fold:
        return build_frames(DAY, partial(self.tables.read, CLIPS, DAY), **self._parts(changes))

    def _parts(self, changes: dict[str, Any]) -> dict[str, Any]:
        return {"tables": self.tables, "settings": self.settings(**changes), "report": lambda line: None}

"""A source of small files with its manifests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from video_assets.downloads.download import download
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.manifest import build_manifest
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables

FLEET = {
    "veh-1/2026-01-03/front/083000.mp4": b"one front",
    "veh-1/2026-01-03/rear/083000.mp4": b"one rear",
    "veh-1/2026-01-04/front/083000.mp4": b"the day after",
    "veh-2/2026-01-03/front/091500.mp4": b"two",
}


class Fleet:
    """A source of small files, with its manifests."""

    def __init__(self, root: Path, files: Mapping[str, bytes] = FLEET) -> None:
        places = {"source": str(root / "uploads"), "store": str(root / "store"), "index": str(root / "index")}
        self.settings = Settings(**places)  # type: ignore[arg-type]
        self.source = root / "uploads"
        for key, data in files.items():
            self.put(key, data)
        self.list_uploads()

    def list_uploads(self) -> None:
        """Makes the manifests of all there is."""
        tables = ParquetTables(open_store(self.settings.store, create=True))
        for day in {path.relative_to(self.source).parts[1::-1] for path in self.source.rglob("*.*")}:
            tables.commit(build_manifest(Partition(*day), tables=tables, settings=self.settings).fold)

    def put(self, key: str, data: bytes) -> Path:
        path = self.source / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_767_000_000,) * 2)
        return path

    def download(self, selection: Any, dest: Path, *args: Any, **options: Any) -> list[str]:
        paths = download(selection, dest, *args, settings=self.settings, **options)
        assert all(path.is_file() for path in paths)
        assert not list(dest.rglob("*.part"))
        return [str(path.relative_to(dest)) for path in paths]

"""A catalogue, its videos, and the home of a deployment that works it off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from video_assets.settings import Settings
from video_assets.sources.catalogue.catalogue import open_database
from video_assets.sources.catalogue.migrate import migrate
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, VECTOR_INDEX, Table
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.vector_index import point_id
from video_assets_tests.video.make_video import make_video


class CatalogueHome:
    """A database with a table of content, a folder of videos, a store and an index."""

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.url = root, url
        self.client = psycopg.connect(url, autocommit=True)
        (root / "videos").mkdir()
        self._model = make_video(root / "model.mp4", frames=8, size=(64, 48))
        with open_database(self.settings) as database:
            migrate(database)

    @property
    def environment(self) -> dict[str, str]:
        mine = {
            "CATALOGUE_URL": self.url,
            "CATALOGUE_LEASE_S": "3",
            "SOURCE": str(self.root / "videos"),
            "STORE": str(self.root / "store"),
            "INDEX": str(self.root / "index"),
            "FRAMES_SAMPLING": "count=2",
            "SETTLE_S": "0",
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("VIDEO_ASSETS_")}
        return others | {f"VIDEO_ASSETS_{name}": value for name, value in mine.items()}

    @property
    def settings(self) -> Settings:
        prefix = "VIDEO_ASSETS_"
        mine = {k.removeprefix(prefix).lower(): v for k, v in self.environment.items() if k.startswith(prefix)}
        return Settings(**mine)  # type: ignore[arg-type]

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(str(self.root / "store"), create=True))

    def add(self, code: str, *, vehicle: str = "veh-1", day: str = "2026-01-03", video: bytes | None = b"") -> int:
        """A record, with a video of its own unless `video` says otherwise: other bytes, or None for none at all."""
        if video is not None:
            path = self.root / "videos" / vehicle / f"{code}.mp4"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(video or self._model.read_bytes())
            os.utime(path, (time.time() - 3600,) * 2)
        row = self.client.execute(
            "INSERT INTO content (platform, code, publish_date) VALUES (%s, %s, %s) RETURNING id", (vehicle, code, day)
        ).fetchone()
        assert row is not None
        return int(row[0])

    def start(self, *arguments: str, more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """`video-assets catalogue …` in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "video_assets.cli", "catalogue", *arguments],
            env=self.environment | dict(more or {}),
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, more=more)
        output, errors = process.communicate(timeout=280)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def status(self) -> Any:
        return json.loads(self.call("status", "--json").stdout)

    def flags(self) -> dict[str, tuple[bool, bool, bool]]:
        """Downloaded, extracted, embedded by code."""
        rows = self.client.execute("SELECT code, is_downloaded, is_extracted, is_embedded FROM content").fetchall()
        return {code: tuple(flags) for code, *flags in rows}  # type: ignore[misc]

    def count(self, condition: str) -> int:
        """How many records fulfil a condition on content (c) and attempts (a)."""
        row = self.client.execute(
            "SELECT count(*) FROM content c LEFT JOIN extraction_attempts a ON a.record_id = c.id WHERE " + condition  # type: ignore[arg-type]
        ).fetchone()
        assert row is not None
        return int(row[0])

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """Every committed row of a table."""
        return [row for part in self.tables.partitions(table) for row in self.tables.read(table, part).to_pylist()]

    def there(self) -> dict[str, dict[str, int]]:
        """By code, how many ok rows each table has, and how many points the index."""
        found: dict[str, dict[str, int]] = {}

        def count(path: str, what: str) -> None:
            found.setdefault(Path(path).stem, {}).setdefault(what, 0)
            found[Path(path).stem][what] += 1

        for table in (CLIPS, FRAMES, EMBEDDINGS):
            for row in self.rows(table):
                if row["status"] == "ok":
                    count(row["video_path"], table.name)
        points = self._points()
        for row in self.rows(EMBEDDINGS):
            if row["status"] == "ok" and point_id(row["model"], row["model_version"], row["image_id"]) in points:
                count(row["video_path"], "points")
        return found

    def attempts(self) -> dict[str, int]:
        """By code, the most attempts that any of its clips, frames and vectors took."""
        most: dict[str, int] = {}
        for table in (CLIPS, FRAMES, EMBEDDINGS):
            for row in self.rows(table):
                code = Path(row["video_path"]).stem
                most[code] = max(most.get(code, 0), row["attempts"])
        return most

    def _points(self) -> set[str]:
        index = open_vector_index(str(self.root / "index"))
        try:
            return {
                point
                for part in self.tables.partitions(VECTOR_INDEX)
                for point in index.partition_points("mobilenet_v2", part.date, str(part.vehicle))
            }
        finally:
            index.close()

    def close(self) -> None:
        self.client.close()

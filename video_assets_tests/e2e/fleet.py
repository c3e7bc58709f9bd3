"""A demo fleet for end-to-end tests: the command line in processes of its own, and what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import CHAIN, VECTOR_INDEX, Table
from video_assets.vectors.registry import open_vector_index

MATERIALIZE = """
import sys
from video_assets.definitions import defs
from video_assets.defs.launch import materialize_source
runs = list(materialize_source(defs, begin=lambda what: None))
sys.exit("; ".join(f"{run.what}: {run.errors}" for run in runs if not run.success) or 0)
"""


@dataclass(frozen=True)
class Fleet:
    """One deployment: uploads, and a home for everything that is made of them."""

    uploads: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("VIDEO_ASSETS_")},
            "DAGSTER_HOME": str(self.home),
            "VIDEO_ASSETS_SOURCE": str(self.uploads),
            "VIDEO_ASSETS_STORE": str(self.home / "store"),
            "VIDEO_ASSETS_INDEX": str(self.home / "index"),
            "VIDEO_ASSETS_FRAMES_SAMPLING": "fps=2",
            "VIDEO_ASSETS_SETTLE_S": "0",
        }

    def at(self, home: Path) -> Fleet:
        """The same uploads with another home."""
        home.mkdir(parents=True)
        (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        return replace(self, home=home)

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, *command: str, status: int = 0) -> str:
        process = self.start(*command)
        output, _ = process.communicate(timeout=280)
        assert process.returncode == status, output
        return output

    def cli(self, *arguments: str, status: int = 0) -> str:
        return self.call(*self.command(*arguments), status=status)

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (str(Path(sys.executable).with_name("video-assets")), *arguments)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.cli(*arguments, "--json"))

    def materialize(self) -> None:
        self.call(sys.executable, "-c", MATERIALIZE)

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(str(self.home / "store"), create=True))

    def objects(self) -> dict[str, str]:
        """Every object with its version: written again, it has another."""
        return {info.key: info.etag for info in self.tables.store.list()}

    def rows(self, tables: Sequence[Table] = CHAIN) -> dict[str, list[dict[str, Any]]]:
        """The stable columns of these tables' every row, with the home taken out of URIs."""
        return {
            f"{table.name} {partition.key}": self._stable(table, partition)
            for table in tables
            for partition in self.tables.partitions(table)
        }

    def _stable(self, table: Table, partition: Partition) -> list[dict[str, Any]]:
        rows = self.tables.read(table, partition).select(table.stable_columns).to_pylist()
        home = self.home.as_uri()
        return [{k: v.replace(home, "") if isinstance(v, str) else v for k, v in row.items()} for row in rows]

    def points(self) -> dict[str, str]:
        """Every point's id and row hash."""
        index = open_vector_index(str(self.home / "index"))
        try:
            return {
                point: row_hash
                for partition in self.tables.partitions(VECTOR_INDEX)
                for point, row_hash in index.partition_points(
                    "mobilenet_v2", partition.date, str(partition.vehicle)
                ).items()
            }
        finally:
            index.close()

    def blobs(self) -> dict[str, bytes]:
        """The content of every blob."""
        return {key: self.tables.store.get(key) for key in self.objects() if "/blobs/" in key}


def lay_out_fleet(root: Path) -> Fleet:
    """The demo's uploads, and a first home beside them."""
    from video_assets.demo.footage import lay_out, packaged_videos

    lay_out(packaged_videos(), root / "uploads", Settings().template())
    return Fleet(root / "uploads", root).at(root / "home")

"""The code location's assets over a small source, in this process, on an instance that is forgotten."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from video_assets.definitions import defs
from video_assets.io_managers.table_io_manager import TableIOManager
from video_assets.keys import Partition, data_key
from video_assets.settings import Settings
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets_tests.video.make_video import make_video


@dataclass(frozen=True)
class SmallFleet:
    """A source folder, a store, and a Dagster instance with its vehicles."""

    root: Path
    instance: dg.DagsterInstance

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(str(self.root / "store"), create=True))

    def upload(self, key: str, data: bytes | None = None, **options: object) -> Path:
        """A made video, or these bytes, under this key, an hour old."""
        path = self.root / "uploads" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            make_video(path, **options)  # type: ignore[arg-type]
        else:
            path.write_bytes(data)
        hour_ago = time.time() - 3600
        os.utime(path, (hour_ago, hour_ago))
        return path

    @property
    def settings(self) -> Settings:
        places = {"source": "uploads", "store": "store", "index": "index"}
        return Settings(**{name: str(self.root / folder) for name, folder in places.items()}, workers=1)

    @property
    def resources(self) -> dict[str, object]:
        return {"settings": self.settings, "tables": self.tables, "io_manager": TableIOManager(self.tables)}

    def objects(self) -> dict[str, str]:
        """Every object with its version: written again, it has another."""
        return {info.key: info.etag for info in self.tables.store.list()}

    def damage(self, table: str, key: str) -> None:
        """What something outside may do to a committed table."""
        self.tables.store.put(data_key(table, Partition.from_key(key)), b"no Parquet")

    def run(self, assets: Sequence[str], **options: object) -> dg.ExecuteInProcessResult:
        """One run of these assets, with this fleet's resources."""
        merged = dg.Definitions(
            assets=list(defs.assets or []), resources=self.resources, executor=dg.in_process_executor
        )
        job = merged.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            **options,  # type: ignore[arg-type]
        )

    def log(self, result: dg.ExecuteInProcessResult) -> list[tuple[str, str]]:
        """Level and text of what a run's assets logged."""
        entries = [record.event_log_entry for record in self.instance.get_records_for_run(result.run_id).records]
        return [(logging.getLevelName(e.level), e.user_message) for e in entries if e.dagster_event is None]


@contextmanager
def small_fleet(root: Path, vehicles: Sequence[str]) -> Iterator[SmallFleet]:
    """A fleet whose vehicles Dagster knows."""
    (root / "uploads").mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("vehicle", list(vehicles))
        yield SmallFleet(root, instance)

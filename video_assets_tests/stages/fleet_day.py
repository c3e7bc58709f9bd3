"""A fleet's batch API with a day of real bags, and the stages over it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime
from datetime import date as Date
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.fleet.fetch import fleet_client
from video_assets.sources.fleet.windows import day_windows, newest_day
from video_assets.stages.fleet_windows import AskedDay, ask_for_day
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import FLEET_WINDOWS
from video_assets_tests.servers.fleet_api import TOKEN, FleetApi
from video_assets_tests.video.bags import Message, picture_file, write_bag

UTC_ZONE = ZoneInfo("UTC")
DAY = newest_day(UTC_ZONE, datetime.now(UTC))
HOUR_S = 3600


def real_bag(folder: Path, start_s: int) -> bytes:
    """A second of one camera's JPEG images, from the start of its window."""
    messages = [
        Message("/camera/image/compressed", start_s * 10**9 + n * 250_000_000, "jpeg", picture_file(n, "jpeg"))
        for n in range(4)
    ]
    path = folder / "made.bag"
    path.unlink(missing_ok=True)
    return write_bag(path, messages).read_bytes()


@dataclass
class FleetDay:
    """A vehicle's day at the service, one window an hour, and a store below `root`."""

    root: Path
    api: FleetApi
    cameras: tuple[str, ...] = ("front", "rear")
    vehicle: str = "veh-1"
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def partition(self) -> Partition:
        return Partition(DAY.isoformat(), self.vehicle)

    @cached_property
    def starts(self) -> list[int]:
        return [window.start_s for window in day_windows(DAY, UTC_ZONE, step_s=HOUR_S)]

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(str(self.root / "store"), create=True))

    def has(self, camera: str, *hours: int, data: bytes | None = None) -> None:
        """Gives the service footage of these hours."""
        for hour in hours:
            start = self.starts[hour]
            self.api.bags[self.vehicle, camera, start] = data or real_bag(self.root, start)

    def settings(self, **changes: Any) -> Settings:
        given = {
            "store": str(self.root / "store"),
            "index": str(self.root / "index"),
            "workers": 1,
            "frames_sampling": "every_s=0.5",
            "fleet_url": self.api.url,
            "fleet_token": TOKEN,
            "fleet_vehicles": "veh-1,veh-2",
            "fleet_cameras": ",".join(self.cameras),
            "fleet_step_s": HOUR_S,
            "fleet_interval_s": 0,
            "fleet_min_valid_bytes": 1,
        }
        return Settings(**{**given, **self.changes, **changes})

    def ask(self, *, now: datetime | None = None, day: Date = DAY, **changes: Any) -> AskedDay:
        """Asks, and commits what came of it."""
        partition, settings = Partition(day.isoformat(), self.vehicle), self.settings(**changes)
        asked = ask_for_day(
            partition,
            tables=self.tables,
            settings=settings,
            report=lambda line: None,
            now=now,
            client=dataclasses.replace(fleet_client(settings), sleep=lambda seconds: None),
        )
        self.tables.commit(asked.fold)
        return asked

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.tables.read(FLEET_WINDOWS, self.partition).to_pylist()
        return rows

    def states(self, camera: str) -> list[str]:
        """In the order of hours."""
        return [row["state"] for row in self.rows() if row["camera"] == camera]

"""`fleet_windows`: which windows of a vehicle's day a fleet's batch API has footage of, and their bags in the store.

The bags are a source of `video_manifest`, like the uploads of a listing.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from datetime import time as Time
from zoneinfo import ZoneInfo

import pyarrow as pa

from video_assets.keys import Partition
from video_assets.settings import Settings, SettingsError, variable
from video_assets.sources.fleet.client import FleetClient
from video_assets.sources.fleet.fetch import FetchResult, FleetFetch, fleet_client
from video_assets.sources.fleet.states import Camera, Known
from video_assets.sources.fleet.store import CameraWindow, StoreWindows
from video_assets.sources.fleet.windows import InvalidWindows, Window, check_day, day_windows, newest_day
from video_assets.stages.items import Row, failed_row
from video_assets.storage.object_store import ObjectInfo
from video_assets.storage.registry import open_store
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import FILTERED, FLEET_WINDOWS, OK
from video_assets.video.heat_map import HeatMap, Share
from video_assets.work.progress import Progress

CODE_VERSION = "1"
"""Raised when the same answers would give other rows."""

NOT_ASKED = "not_asked"
"""The `error_stage` of a window that stays unknown."""


@dataclass(frozen=True, slots=True)
class AskedDay:
    """A day as it is now known, and what this run did for it; `refusal` says why it asked for nothing."""

    fold: Fold
    result: FetchResult
    refusal: str = ""


def recipe(settings: Settings) -> Recipe:
    """What decides which windows there are."""
    return Recipe(
        CODE_VERSION,
        {
            "cameras": ",".join(settings.fleet_cameras),
            "window_s": str(settings.fleet_window_s),
            "step_s": str(settings.fleet_step_s or settings.fleet_window_s),
            "timezone": settings.timezone,
        },
    )


def newest_partitions(settings: Settings, now: datetime) -> list[Partition]:
    """The fleet's newest day that ended before 00:00 UTC of today, for each vehicle; none before the first day."""
    day = newest_day(ZoneInfo(settings.timezone), now)
    return [Partition(day.isoformat(), name) for name in settings.fleet_vehicles] if day >= settings.start_date else []


def ask_for_day(
    partition: Partition,
    *,
    tables: TableStore,
    settings: Settings,
    report: Callable[[str], None],
    now: datetime | None = None,
    client: FleetClient | None = None,
    download: bool = True,
    sparse: bool = False,
) -> AskedDay:
    """Asks for the windows that are due and fetches their bags. The fold holds what earlier runs found too.

    A token that is not taken, or a service that is away, stops the asking: `result.stopped`. The fold is not committed.

    Args:
        client: of the service; by default as the settings say.
        download, sparse: see `FleetFetch`.

    Raises:
        SettingsError: the vehicle is none of the fleet's, or the fleet is not set up.
        FleetStopped: there is no token.
        InvalidWindows: nothing is known of the day, and it cannot be asked for.
    """
    _check_vehicle(partition, settings)
    zone, day, begun = ZoneInfo(settings.timezone), Date.fromisoformat(partition.date), time.monotonic()
    grid = day_windows(day, zone, length_s=settings.fleet_window_s, step_s=settings.fleet_step_s)
    store = open_store(settings.store)
    store.sweep()
    with tables.writer(FLEET_WINDOWS, partition):
        base = tables.version(FLEET_WINDOWS, partition)
        with StoreWindows(store, partition) as stored:
            result, refusal = FetchResult(), ""
            try:
                check_day(day, zone, now or datetime.now(UTC), look_back_days=settings.fleet_lookback_days)
            except InvalidWindows as error:
                if not stored.windows():
                    raise
                refusal = str(error)
            else:
                fetch = FleetFetch(
                    client or fleet_client(settings),
                    stored.camera,
                    recheck_s=settings.fleet_recheck_s,
                    sparse=sparse,
                    most_files=settings.fleet_max_files,
                    max_attempts=settings.max_attempts,
                    download=download,
                )
                result = _run(fetch, partition, day, grid, settings, report)
            table = FLEET_WINDOWS.rows([_row(stored, *one) for one in _all_windows(stored, grid, settings)])
    asked = sum(count for what, count in result.counts.items() if what not in ("earlier", "left"))
    seconds = time.monotonic() - begun
    fold = Fold(FLEET_WINDOWS, partition, table, base, made=asked, recipe=recipe(settings), seconds=seconds)
    return AskedDay(fold, result, refusal)


def _check_vehicle(partition: Partition, settings: Settings) -> None:
    if partition.vehicle not in settings.fleet_vehicles:
        cause = f"does not name {partition.vehicle}"
        remedy = "Add the vehicle if the fleet's batch API has it; else leave this partition out."
        raise SettingsError(variable("fleet_vehicles"), cause, remedy)


def _run(
    fetch: FleetFetch,
    partition: Partition,
    day: Date,
    grid: list[Window],
    settings: Settings,
    report: Callable[[str], None],
) -> FetchResult:
    wanted = [(Camera(str(partition.vehicle), name, day), grid) for name in settings.fleet_cameras]
    last = FetchResult()
    progress = Progress(lambda line: report(f"{line}: {last}"), unit="windows", total=len(grid) * len(wanted))

    def note(result: FetchResult) -> None:
        nonlocal last
        last = result
        progress.add()

    try:
        return fetch.run(wanted, workers=settings.fleet_workers, report=note)
    finally:
        fetch.client.close()


def _all_windows(stored: StoreWindows, grid: list[Window], settings: Settings) -> list[CameraWindow]:
    """Those of the settings as they are now, and those that were ever asked for."""
    return sorted({(camera, window) for camera in settings.fleet_cameras for window in grid} | stored.windows())


def _row(stored: StoreWindows, camera: str, window: Window) -> Row:
    known, bag = stored.known(camera, window), stored.bags.get((camera, window))
    row: Row = {
        "camera": camera,
        "start_time": window.start,
        "end_time": datetime.fromtimestamp(window.end_s, UTC),
        "state": known.state,
        "asked_at": datetime.fromtimestamp(known.at_s, UTC) if known.at_s else None,
        **(_bag_columns(stored, bag) if bag else {}),
    }
    return {**row, **_status(row, known)}


def _bag_columns(stored: StoreWindows, bag: ObjectInfo) -> Row:
    return {
        "bag_uri": stored.store.uri_of(bag.key),
        "size_bytes": bag.size_bytes,
        "etag": bag.etag,
        "last_modified": f"{bag.last_modified:%Y-%m-%d %H:%M:%S}",
    }


def _status(row: Row, known: Known) -> Row:
    if known.state == "failed":
        return {**failed_row(row, "fetch", known.error), "attempts": known.attempts}
    if known.state == "unknown":
        return {"status": FILTERED, "error_stage": NOT_ASKED, "error_msg": "was not asked for yet", "attempts": 0}
    return {"status": OK, "attempts": 1}


def counts_of(fold: Fold) -> Counter[str]:
    """How many windows are in each state."""
    return Counter(fold.rows["state"].to_pylist())


def draw_availability(partition: Partition, rows: pa.Table, settings: Settings) -> bytes | None:
    """The heat map of a day's rows as a PNG; None for a day without windows."""
    from video_assets.video.heat_map import draw_heat_map

    return draw_heat_map(heat_map(partition, rows, settings)) if len(rows) else None


def heat_map(partition: Partition, rows: pa.Table, settings: Settings) -> HeatMap:
    """What share of the windows has footage, by camera and hour of the fleet's clock. A day of 25 hours has 25."""
    zone, day = ZoneInfo(settings.timezone), Date.fromisoformat(partition.date)
    begin, end = (datetime.combine(day + timedelta(days=n), Time.min, zone).astimezone(UTC) for n in (0, 1))
    hours = [begin + timedelta(hours=n) for n in range(math.ceil((end - begin) / timedelta(hours=1)))]
    counts: dict[tuple[str, int], Counter[str]] = {}
    columns = (rows[name].to_pylist() for name in ("camera", "start_time", "state"))
    for camera, start, state in zip(*columns, strict=True):
        counts.setdefault((camera, (start - begin) // timedelta(hours=1)), Counter())[state] += 1
    return HeatMap(
        f"{partition.vehicle} {partition.date}: windows with footage in %, by hour ({zone.key})",
        [f"{hour.astimezone(zone):%H}" for hour in hours],
        {
            camera: [_share(counts.get((camera, n), Counter())) for n in range(len(hours))]
            for camera in sorted({camera for camera, _ in counts})
        },
    )


def _share(states: Counter[str]) -> Share:
    there = states["saved"] + states["available"]
    return Share(there, there + states["missing"], states.total())

"""Vehicles that have not sent anything for long, by what the manifests say of their latest uploads."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from video_assets.keys import Partition
from video_assets.table_store.table_store import PartitionNotFound, TableStore
from video_assets.tables import VIDEO_MANIFEST

LATE_DAYS = 7
"""Footage that is uploaded later than this after its day is no sign of life: older manifests are not read."""


def silent_vehicles(
    vehicles: Iterable[str], tables: TableStore, *, after_h: float, now: datetime, zone: ZoneInfo
) -> dict[str, datetime | None]:
    """The vehicles without an upload in the last `after_h` hours, each with its latest; None where none is known.

    A vehicle's newest manifests are read first, and no more of them once it is known to be alive.

    Args:
        zone: the fleet's, whose days partitions are.

    Raises:
        TableError: a manifest cannot be read: its vehicle is neither silent nor alive.
    """
    since = now - timedelta(hours=after_h)
    today = now.astimezone(zone).date()
    days = [today - timedelta(days=n) for n in range((now - since).days + LATE_DAYS + 2)]
    silent = {}
    for vehicle in sorted(vehicles):
        latest: datetime | None = None
        for day in days:
            latest = max(filter(None, (latest, _latest(Partition(day.isoformat(), vehicle), tables))), default=None)
            if latest is not None and latest >= since:
                break
        else:
            silent[vehicle] = latest
    return silent


def _latest(partition: Partition, tables: TableStore) -> datetime | None:
    """When the partition's latest upload came; deleted ones came too."""
    try:
        rows = tables.read(VIDEO_MANIFEST, partition)
    except PartitionNotFound:
        return None
    times = rows["last_modified"].to_pylist()
    return max((datetime.fromisoformat(time).replace(tzinfo=UTC) for time in times), default=None)

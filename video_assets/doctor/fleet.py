"""Checks of a fleet's batch API."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from video_assets.doctor.finding import Finding
from video_assets.plural import counted
from video_assets.settings import Settings
from video_assets.sources.fleet.fetch import fleet_client
from video_assets.sources.fleet.windows import day_windows, newest_day


def fleet_finding(settings: Settings) -> Finding | None:
    """Whether the service answers and takes the token, by one request for a window of the newest day; None without one.

    Nothing is fetched, and nothing is written down.
    """
    if not settings.has_fleet:
        return None
    vehicle, camera = settings.fleet_vehicles[0], settings.fleet_cameras[0]
    zone = ZoneInfo(settings.timezone)
    day = newest_day(zone, datetime.now(UTC))
    window = day_windows(day, zone, length_s=settings.fleet_window_s)[0]
    client = fleet_client(settings)
    try:
        found = client.find(vehicle, camera, window.start_s, window.end_s)
    finally:
        client.close()
    asked = f"{counted(len(settings.fleet_vehicles), 'vehicle')}, {counted(len(settings.fleet_cameras), 'camera')}"
    first = f"{vehicle} {camera} {window.start:%Y-%m-%d %H:%M} UTC: {'footage' if found else 'no footage'}"
    return Finding("fleet", "ok", f"{settings.fleet_url} answers and takes the token; {asked}; {first}")

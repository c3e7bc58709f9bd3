"""The check of a catalogue."""

from __future__ import annotations

from video_assets.doctor.finding import Finding
from video_assets.settings import Settings


def catalogue_finding(settings: Settings) -> Finding | None:
    """Whether the catalogue's database answers and has its tables, and how far it is; None where none is set."""
    from video_assets.sources.catalogue.catalogue import open_database
    from video_assets.sources.catalogue.status import catalogue_status

    if settings.catalogue_url is None:
        return None
    with open_database(settings, away_s=0) as database:
        status = catalogue_status(database, settings.max_attempts)
    states = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in status.states.items() if count)
    return Finding("catalogue", "ok", f"{settings.catalogue_table}: {states or 'no records yet'}")

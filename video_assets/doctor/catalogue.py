"""The check of a catalogue."""

from __future__ import annotations

from video_assets.doctor.finding import Finding
from video_assets.settings import Settings, variable
from video_assets.sources.source_objects import Fault

SAMPLE = 20
"""How many of the records that are left are looked at."""


def catalogue_finding(settings: Settings) -> Finding | None:
    """Whether the catalogue's database answers and has its tables, how far it is, and whether the videos of what would
    be taken next are there; None where no catalogue is set.
    """
    from video_assets.sources.catalogue.catalogue import open_claims, open_database
    from video_assets.sources.catalogue.status import catalogue_status
    from video_assets.sources.catalogue.videos import CatalogueVideos

    if settings.catalogue_url is None:
        return None
    with open_database(settings, away_s=0) as database:
        status = catalogue_status(database, settings.max_attempts)
        records = open_claims(settings, database, "").peek(SAMPLE)
    states = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in status.states.items() if count)
    text = f"{settings.catalogue_table}: {states or 'no records yet'}"
    looked = CatalogueVideos(settings).look(records) if records else {}
    faults = [found for found in looked.values() if isinstance(found, Fault)]
    if not faults:
        return Finding("catalogue", "ok", text)
    text += f"; {len(faults)} of the next {len(records)} cannot be used, e.g. {faults[0].text} {faults[0].reason}"
    names = ", ".join(variable(name) for name in ("catalogue_video", "catalogue_vehicle"))
    return Finding("catalogue", "warning", text, f"Look at {names}, or wait for the uploads.")

"""A deployment's catalogue: its database, and who claims its records."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable

from video_assets.settings import Settings, SettingsError, variable
from video_assets.sources.catalogue.claims import Claims
from video_assets.sources.catalogue.database import AWAY_S, Database
from video_assets.sources.catalogue.names import Names


def open_database(
    settings: Settings,
    *,
    away_s: float = AWAY_S,
    on_away: Callable[[str], None] = lambda line: None,
    give_up: Callable[[], bool] = lambda: False,
) -> Database:
    """The database of a deployment's catalogue; see `Database`. Nothing is asked of it yet.

    Raises:
        SettingsError: none is set.
    """
    if settings.catalogue_url is None:
        raise SettingsError(
            variable("catalogue_url"), "is not set, so there is no catalogue", "Set it to postgresql://host/database."
        )
    return Database(settings.catalogue_url, Names.of(settings), away_s=away_s, on_away=on_away, give_up=give_up)


def open_claims(settings: Settings, database: Database, worker: str) -> Claims:
    """The claims of a worker."""
    return Claims(
        database,
        worker,
        lease_s=settings.catalogue_lease_s,
        max_attempts=settings.max_attempts,
        retry_s=settings.catalogue_retry_s,
    )


def worker_name() -> str:
    """A name that no other worker has or had: where it runs, for people, and something drawn."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

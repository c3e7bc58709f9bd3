"""The databases in which a DAGSTER_HOME keeps runs, events and ticks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from yaml import YAMLError

from video_assets.errors import VideoAssetsError

_DISK_FAULTS = ("disk I/O error", "disk is full", "unable to open", "readonly")
"""What SQLite says of the disk, not of the database."""


class HistoryUnusable(VideoAssetsError):
    """The history of a home cannot be made, read or written."""


def make_history(home: Path) -> None:
    """Makes the databases where they are missing, and opens each once.

    Webserver and daemon, started together on a new home, would both make them, and leave a database with two heads of
    its migrations, which neither can open again. So one process makes them before either starts.

    Raises:
        HistoryUnusable: they, or dagster.yaml, cannot be used.
    """
    with history_errors(home):
        try:
            instance = dg.DagsterInstance.from_config(str(home))
        except (dg.DagsterError, YAMLError) as error:
            cause = " ".join(str(error).split())[:300]
            remedy = "Mend it, or move it away: `video-assets up` then writes ours."
            raise HistoryUnusable(str(home / "dagster.yaml"), cause, remedy) from error
        with instance:
            instance.get_runs_count()
            instance.all_asset_keys()
            instance.all_instigator_state()


@contextmanager
def history_errors(home: Path) -> Iterator[None]:
    """Types what SQLite and its migrations say about a home's databases."""
    from alembic.util.exc import CommandError
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except CommandError as error:
        raise _damaged(home, error) from error
    except DBAPIError as error:
        if not isinstance(error.orig, sqlite3.Error):
            raise
        if not any(fault in str(error.orig) for fault in _DISK_FAULTS):
            raise _damaged(home, error.orig) from error
        raise HistoryUnusable(
            f"history in {home}",
            f"cannot be written: {error.orig}",
            "Free space on its disk, give this user the permission, or name another home.",
        ) from error


def _damaged(home: Path, error: BaseException) -> HistoryUnusable:
    return HistoryUnusable(
        f"history in {home}",
        f"is damaged: {error}",
        f"Move {home / 'history'} and {home / 'schedules'} away: new ones are made. The store keeps your data.",
    )

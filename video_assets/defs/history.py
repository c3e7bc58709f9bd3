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
            _begin_retries(instance)


def _begin_retries(instance: dg.DagsterInstance) -> None:
    """Says from where on the daemon looks for lost runs, as it would itself: a new home that does not say it is warned
    of in the terminal.
    """
    from dagster._daemon.auto_run_reexecution.event_log_consumer import DAGSTER_EVENT_TYPES, _create_cursor_key

    names = {_create_cursor_key(event_type) for event_type in DAGSTER_EVENT_TYPES}
    if missing := names - instance.daemon_cursor_storage.get_cursor_values(names).keys():
        latest = str(instance.event_log_storage.get_maximum_record_id() or 0)
        instance.daemon_cursor_storage.set_cursor_values(dict.fromkeys(missing, latest))


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

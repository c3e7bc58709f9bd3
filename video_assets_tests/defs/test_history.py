"""A home's history: made once, whole, and where it is damaged, said so."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from video_assets.dagster_home import prepare_home
from video_assets.defs.history import HistoryUnusable, make_history

DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


def heads(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return len(connection.execute("SELECT version_num FROM alembic_version").fetchall())


def test_a_new_home_has_every_database_with_one_head(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    make_history(tmp_path)
    make_history(tmp_path)
    assert [heads(tmp_path / name) for name in DATABASES] == [1, 1, 1]


def test_a_new_home_says_from_where_on_lost_runs_are_looked_for(tmp_path: Path) -> None:
    from dagster._daemon.auto_run_reexecution.event_log_consumer import DAGSTER_EVENT_TYPES, _fetch_persisted_cursors

    prepare_home(tmp_path)
    make_history(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        cursors = _fetch_persisted_cursors(instance, DAGSTER_EVENT_TYPES, logging.getLogger("test"))
        assert cursors == dict.fromkeys(DAGSTER_EVENT_TYPES, 0), "None is what the daemon warns of"
        instance.daemon_cursor_storage.set_cursor_values(
            {"EVENT_LOG_CONSUMER_CURSOR-PIPELINE_FAILURE": "7", "EVENT_LOG_CONSUMER_CURSOR-PIPELINE_SUCCESS": "7"}
        )
    make_history(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        cursors = _fetch_persisted_cursors(instance, DAGSTER_EVENT_TYPES, logging.getLogger("test"))
        assert set(cursors.values()) == {7}


@pytest.mark.parametrize("name", DATABASES)
def test_two_heads_are_said_to_be_damage_that_can_be_moved_away(tmp_path: Path, name: str) -> None:
    prepare_home(tmp_path)
    make_history(tmp_path)
    with closing(sqlite3.connect(tmp_path / name)) as connection, connection:
        connection.execute("INSERT INTO alembic_version VALUES ('5771160a95ad')")
    with pytest.raises(HistoryUnusable, match=r"is damaged: .*Move .*schedules away.* The store keeps your data"):
        make_history(tmp_path)


def test_a_file_that_is_no_database_is_damage_and_a_disk_that_gives_none_is_not(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "schedules.db").write_text("no database at all, but words, words, words" * 100)
    with pytest.raises(HistoryUnusable, match="is damaged"):
        make_history(tmp_path)
    (tmp_path / "schedules" / "schedules.db").unlink()
    (tmp_path / "schedules" / "schedules.db").mkdir()
    with pytest.raises(HistoryUnusable, match="cannot be written"):
        make_history(tmp_path)


@pytest.mark.parametrize("text", ["telemetri: {}\n", "concurrency: [\n"])
def test_a_wrong_dagster_yaml_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "dagster.yaml").write_text(text)
    with pytest.raises(HistoryUnusable, match=r"dagster\.yaml"):
        make_history(tmp_path)

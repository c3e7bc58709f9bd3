"""Event databases kept open: the same events are stored, others read and write meanwhile, and nothing stays open."""

import sqlite3
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import text

from video_assets.defs.event_store import kept_open

ASSET = dg.AssetKey("clips")
CHECK = "rows_unique"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def run(instance: dg.DagsterInstance, partitions: list[str], *, kept: bool) -> dg.ExecuteInProcessResult:
    """A job that reports a partition after the other, and looks at what others see of it."""

    @dg.op(out={})
    def report(context: dg.OpExecutionContext) -> Iterator[object]:
        for key in partitions:
            yield dg.AssetMaterialization(ASSET, partition=key)
            yield dg.AssetCheckEvaluation(asset_key=ASSET, check_name=CHECK, passed=True, partition=key)
            with dg.DagsterInstance.from_ref(instance.get_ref()) as other:
                assert key in other.get_materialized_partitions(ASSET)
                other.report_runless_asset_event(dg.AssetMaterialization("seen_by_another", partition=key))

    @dg.job
    def reports() -> None:
        report()

    if not kept:
        return reports.execute_in_process(instance=instance)
    with kept_open(instance):
        return reports.execute_in_process(instance=instance)


def stored(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterEventType | None]:
    return [entry.dagster_event_type for entry in instance.all_logs(run_id)]


def open_databases(home: Path) -> set[str]:
    """Those with a log beside them, which SQLite takes away with the last one that closes it."""
    return {log.name.removesuffix("-wal") for log in (home / "history" / "runs").glob("*-wal")}


def test_what_is_stored_is_the_same_and_seen_by_others_at_once(home: Path, instance: dg.DagsterInstance) -> None:
    plain = run(instance, ["a", "b"], kept=False)
    kept = run(instance, ["c", "d"], kept=True)
    assert stored(instance, kept.run_id) == stored(instance, plain.run_id)
    assert instance.get_materialized_partitions(ASSET) == {"a", "b", "c", "d"}
    assert instance.get_materialized_partitions(dg.AssetKey("seen_by_another")) == {"a", "b", "c", "d"}
    checks = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(ASSET, CHECK), limit=10)
    assert {record.partition for record in checks} == {"a", "b", "c", "d"}
    assert open_databases(home) == set()
    with sqlite3.connect(home / "history" / "runs" / "index.db") as index:
        assert index.execute("pragma integrity_check").fetchall() == [("ok",)]


def test_databases_are_opened_once_and_closed_after_an_error(home: Path, instance: dg.DagsterInstance) -> None:
    def opened_and_failed() -> None:
        with kept_open(instance):
            instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition="a"))
            opened = open_databases(home)
            assert "index.db" in opened
            instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition="b"))
            assert open_databases(home) == opened
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        opened_and_failed()
    assert open_databases(home) == set()
    instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition="c"))
    assert instance.get_materialized_partitions(ASSET) == {"a", "b", "c"}


def test_bug_a_cancelled_run_hung_when_the_garbage_collector_ended_the_block(
    home: Path, instance: dg.DagsterInstance
) -> None:
    """Dagster leaves a step suspended that is cancelled between two events. It is collected whenever memory is asked
    for, so also while the same thread stores why the run ends."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqliteEventLogStorage)

    def step() -> Generator[None]:
        with kept_open(instance):
            instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition="a"))
            yield

    def cancelled() -> None:
        suspended = step()
        next(suspended)
        with storage.index_connection() as connection:
            connection.execute(text("INSERT INTO asset_event_tags (asset_key, key) VALUES ('x', 'y')"))
            suspended.close()

    thread = threading.Thread(target=cancelled, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert open_databases(home) == set()
    with sqlite3.connect(home / "history" / "runs" / "index.db") as index:
        assert index.execute("SELECT count(*) FROM asset_event_tags WHERE key = 'y'").fetchall() == [(1,)]
    instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition="b"))
    assert instance.get_materialized_partitions(ASSET) == {"a", "b"}


def test_bug_the_web_server_saw_no_event_of_a_run_before_its_end(home: Path, instance: dg.DagsterInstance) -> None:
    """It looks when the run's file changes; kept open, only the log beside it did."""
    seen = threading.Event()

    @dg.op
    def talk(context: dg.OpExecutionContext) -> None:
        web.watch_event_logs(context.run_id, None, lambda entry, cursor: said(entry))
        with kept_open(instance):
            context.log.info("opens the file")
            seen.clear()
            context.log.info("is seen")
            assert seen.wait(20)

    def said(entry: dg.EventLogEntry) -> None:
        if entry.user_message == "is seen":
            seen.set()

    @dg.job
    def talks() -> None:
        talk()

    with dg.DagsterInstance.from_config(str(home)) as web:
        assert talks.execute_in_process(instance=instance).success


def test_a_run_outlives_that_all_runs_are_wiped(home: Path, instance: dg.DagsterInstance) -> None:
    with kept_open(instance), dg.DagsterInstance.from_config(str(home)) as other:
        instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition="a"))
        other.event_log_storage.wipe()
        instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition="b"))
        assert instance.get_materialized_partitions(ASSET) == {"b"}
    assert open_databases(home) == set()


def test_threads_share_what_is_open(instance: dg.DagsterInstance) -> None:
    def report(number: int) -> None:
        for partition in range(5):
            key = f"{number}-{partition}"
            instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition=key))

    with kept_open(instance):
        threads = [threading.Thread(target=report, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(instance.get_materialized_partitions(ASSET)) == 15

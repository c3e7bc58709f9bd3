"""Items, records, attempts: what is made once, what is tried again, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.items import MAX_RUN_DEATHS, Item, StageStopped, run_stage, work_ahead
from video_assets.storage.registry import open_store
from video_assets.table_store.items import ItemRecords
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, VIDEO_MANIFEST
from video_assets_tests.stages.item_functions import Behaviour, behave

DAY = Partition("2026-01-03", "veh-7")


@pytest.fixture
def tables(tmp_path: Path) -> ParquetTables:
    return ParquetTables(open_store(str(tmp_path / "store"), create=True))


def settings(**changes: Any) -> Settings:
    return Settings(**{"workers": 2, "item_timeout_s": 20, **changes})


def run(tables: ParquetTables, behaviours: dict[str, Behaviour], **changes: Any) -> Fold:
    items = [_item(name, behaviour) for name, behaviour in behaviours.items()]
    return run_stage(
        CLIPS,
        DAY,
        VIDEO_MANIFEST.schema.empty_table,
        lambda rows: items,
        behave,
        recipe=Recipe("1"),
        tables=tables,
        settings=settings(store=tables.store.uri, **changes),
        report=lambda line: None,
    )


def _item(name: str, behaviour: Behaviour) -> Item:
    identity = {"clip_id": name, "video_path": f"file:///{name}"}
    return Item(name, replace(behaviour, name=name), identity, lambda row: identity)


def rows(fold: Fold) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: row for row in fold.rows.to_pylist()}


def test_a_second_run_makes_nothing(tables: ParquetTables, tmp_path: Path) -> None:
    work = {name: Behaviour(log=str(tmp_path / "log")) for name in ("a", "b", "c")}
    assert run(tables, work).made == 3
    again = run(tables, work)
    assert again.made == 0
    assert again.counts == {"ok": 3, "failed": 0, "filtered": 0}
    assert len((tmp_path / "log").read_text().split()) == 3


def test_one_bad_item_keeps_its_identity_and_stops_nothing(tables: ParquetTables) -> None:
    work = {
        "good": Behaviour(),
        "raises": Behaviour(error="ValueError"),
        "segfault": Behaviour(signal=signal.SIGSEGV),
        "killed": Behaviour(signal=signal.SIGKILL),
    }
    found = rows(run(tables, work))
    assert {name: row["status"] for name, row in found.items()} == {
        "good": "ok",
        "raises": "failed",
        "segfault": "failed",
        "killed": "failed",
    }
    assert found["raises"]["video_path"] == "file:///raises"
    assert found["segfault"]["error_stage"] == "crash"
    assert "SIGSEGV" in found["segfault"]["error_msg"]


def test_a_hanging_item_costs_its_timeout(tables: ParquetTables) -> None:
    found = rows(run(tables, {"hangs": Behaviour(sleep_s=60), "good": Behaviour()}, item_timeout_s=5.0))
    assert found["hangs"]["error_stage"] == "timeout"
    assert found["good"]["status"] == "ok"


def test_work_ahead_has_one_deadline_for_all_its_items_and_stages(tables: ParquetTables) -> None:
    deadline = time.monotonic() + 6

    def ahead(partition: Partition, **behaviours: Behaviour) -> dict[str, dict[str, Any]]:
        made = work_ahead(
            CLIPS,
            partition,
            [_item(name, behaviour) for name, behaviour in behaviours.items()],
            behave,
            settings=settings(store=tables.store.uri, workers=1, item_timeout_s=6),
            report=lambda line: None,
            deadline=deadline,
        )
        return {row["clip_id"]: row for row in made.to_pylist()}

    # Either alone would do within 6 s.
    assert ahead(DAY, a=Behaviour(sleep_s=0.5))["a"]["status"] == "ok"
    next_stage = ahead(replace(DAY, date="2026-01-04"), b=Behaviour(), c=Behaviour(sleep_s=5.9), d=Behaviour())
    assert {name: row["status"] for name, row in next_stage.items()} == {"b": "ok", "c": "failed", "d": "failed"}
    assert {row["error_msg"] for row in next_stage.values() if row["status"] == "failed"} == {
        "not done within the 6 s that its record may take in all"
    }
    assert (next_stage["c"]["error_stage"], next_stage["c"]["attempts"]) == ("timeout", 1)
    assert not list(Path(tables.store.uri.removeprefix("file://")).rglob("*.attempt"))


def test_a_failed_item_is_tried_in_max_attempts_runs_and_then_left(tables: ParquetTables) -> None:
    work = {"bad": Behaviour(error="ValueError")}
    made = [run(tables, work, max_attempts=3).made for _ in range(5)]
    assert made == [1, 1, 1, 0, 0]
    assert rows(run(tables, work))["bad"]["attempts"] == 3


def test_damaged_bytes_are_not_tried_again(tables: ParquetTables) -> None:
    work = {"bad": Behaviour(error="NotAVideo")}
    assert [run(tables, work).made for _ in range(2)] == [1, 0]


def test_an_item_that_recovers_is_ok(tables: ParquetTables, tmp_path: Path) -> None:
    flag = tmp_path / "mended"
    work = {"flaky": Behaviour(error="ValueError", until=str(flag))}
    assert rows(run(tables, work))["flaky"]["status"] == "failed"
    flag.touch()
    row = rows(run(tables, work))["flaky"]
    assert (row["status"], row["attempts"], row["error_msg"]) == ("ok", 2, None)


def test_a_store_that_is_away_ends_the_run_and_costs_no_item_an_attempt(tables: ParquetTables) -> None:
    work = {name: Behaviour(error="StoreUnavailable") for name in "abcd"}
    for _ in range(4):
        with pytest.raises(StageStopped):
            run(tables, work, max_attempts=1)
    work = {name: Behaviour() for name in "abcd"}
    assert [row["attempts"] for row in run(tables, work).rows.to_pylist()] == [1, 1, 1, 1]


def test_only_current_items_are_in_the_fold(tables: ParquetTables) -> None:
    run(tables, {"old": Behaviour(), "kept": Behaviour()})
    assert set(rows(run(tables, {"kept": Behaviour(), "new": Behaviour()}))) == {"kept", "new"}
    back = run(tables, {"old": Behaviour(), "kept": Behaviour()})
    assert (set(rows(back)), back.made) == ({"old", "kept"}, 0)


def test_no_items_make_an_empty_table(tables: ParquetTables) -> None:
    fold = run(tables, {})
    assert fold.rows.schema.equals(CLIPS.schema)
    assert tables.commit(fold)


def test_an_attempt_that_dies_with_its_run_counts(tables: ParquetTables, tmp_path: Path) -> None:
    script = f"""
from video_assets_tests.stages.test_items import *
tables = ParquetTables(open_store({str(tmp_path / "store")!r}, create=True))
run(tables, {{"slow": Behaviour(sleep_s=60)}})
"""
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
        records = ItemRecords(tables.store, CLIPS, DAY)
        before = records.load(["slow"])[1].get("slow", 0)
        deadline = time.monotonic() + 60
        while records.load(["slow"])[1].get("slow", 0) == before and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    row = rows(run(tables, {"slow": Behaviour()}))["slow"]
    assert (row["status"], row["attempts"]) == ("ok", 3)
    assert records.load(["slow"])[1] == {}


def test_an_item_in_hand_at_every_death_of_its_run_is_given_up(tables: ParquetTables) -> None:
    records = ItemRecords(tables.store, CLIPS, DAY)
    records.begin("poison", MAX_RUN_DEATHS)
    found = rows(run(tables, {"poison": Behaviour(), "good": Behaviour()}))
    assert (found["poison"]["status"], found["poison"]["error_stage"]) == ("failed", "crash")
    assert found["good"]["status"] == "ok"
    assert run(tables, {"poison": Behaviour()}).made == 0


def test_a_marker_left_beside_a_record_is_taken_away(tables: ParquetTables) -> None:
    run(tables, {"a": Behaviour()})
    records = ItemRecords(tables.store, CLIPS, DAY)
    records.begin("a", 1)
    assert run(tables, {"a": Behaviour()}).made == 0
    assert not [info.key for info in tables.store.list() if info.key.endswith(".attempt")]


def test_bug_outages_burnt_items_that_had_failed_before(tables: ParquetTables) -> None:
    run(tables, {"a": Behaviour(error="ValueError")})
    for _ in range(MAX_RUN_DEATHS + 2):
        with pytest.raises(StageStopped):
            run(tables, {"a": Behaviour(error="StoreUnavailable")})
    row = rows(run(tables, {"a": Behaviour()}))["a"]
    assert (row["status"], row["attempts"]) == ("ok", 2)


def test_bug_an_error_in_the_run_itself_was_taken_for_its_death(
    tables: ParquetTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(self: ItemRecords, record: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ItemRecords, "publish", disk_full)
        for _ in range(MAX_RUN_DEATHS + 2):
            with pytest.raises(OSError, match="No space"):
                run(tables, {"a": Behaviour()})
    row = rows(run(tables, {"a": Behaviour()}))["a"]
    assert (row["status"], row["attempts"]) == ("ok", 1)


def test_bug_a_model_that_is_away_failed_every_clip_for_good(tables: ParquetTables) -> None:
    for _ in range(4):
        with pytest.raises(StageStopped):
            run(tables, {"a": Behaviour(error="EmbedderUnavailable")})
    assert rows(run(tables, {"a": Behaviour()}))["a"]["status"] == "ok"

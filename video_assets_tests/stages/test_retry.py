"""Failed items that have used up their attempts are tried once more when somebody says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from video_assets.stages.retry import Selection, set_back_failed
from video_assets.storage.registry import open_store
from video_assets.table_store.items import ItemRecords
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import CLIPS
from video_assets_tests.stages.item_functions import Behaviour
from video_assets_tests.stages.test_items import DAY, rows, run

EVERYTHING = Selection()


@pytest.fixture
def tables(tmp_path: Path) -> ParquetTables:
    return ParquetTables(open_store(str(tmp_path / "store"), create=True))


def retry(tables: ParquetTables, selection: Selection = EVERYTHING, **options: Any) -> list[tuple[str, str]]:
    items = set_back_failed(tables, tables.store, selection, **{"max_attempts": 3, **options})
    return sorted((item.video_path.rpartition("/")[2], item.verdict) for item in items)


def made(tables: ParquetTables, work: dict[str, Behaviour]) -> int:
    fold = run(tables, work)
    tables.commit(fold)
    return fold.made


def test_an_item_is_tried_in_exactly_one_more_run(tables: ParquetTables) -> None:
    work = {"worn": Behaviour(error="ValueError"), "damaged": Behaviour(error="NotAVideo"), "good": Behaviour()}
    assert [made(tables, work) for _ in range(4)] == [3, 1, 1, 0]
    both = [("damaged", "set back"), ("worn", "set back")]
    assert retry(tables, dry_run=True) == both
    assert made(tables, work) == 0, "a dry run changes nothing"
    assert retry(tables) == both
    assert retry(tables) == [("damaged", "due"), ("worn", "due")]
    assert [made(tables, work) for _ in range(3)] == [2, 0, 0]
    assert rows(run(tables, work))["worn"]["attempts"] == 3
    assert retry(tables) == both
    mended = {**work, "worn": Behaviour()}
    made(tables, mended)
    assert rows(run(tables, mended))["worn"]["status"] == "ok"


def test_an_item_that_was_given_up_with_its_runs_is_tried_again(tables: ParquetTables) -> None:
    ItemRecords(tables.store, CLIPS, DAY).begin("poison", 10)
    work = {"poison": Behaviour()}
    assert made(tables, work) == 0
    assert rows(run(tables, work))["poison"]["error_stage"] == "crash"
    assert retry(tables) == [("poison", "set back")]
    assert made(tables, work) == 1
    assert rows(run(tables, work))["poison"]["status"] == "ok"


def test_only_what_is_selected_and_in_no_runs_hands(tables: ParquetTables) -> None:
    made(tables, {"bad": Behaviour(error="NotAVideo")})
    for other in (Selection(vehicle="veh-8"), Selection(date="2026-01-04"), Selection(stage="frames")):
        assert retry(tables, other) == []
    with tables.writer(CLIPS, DAY):
        assert retry(tables) == [("bad", "in use")]
    assert retry(tables, Selection("veh-7", "2026-01-03", "clips")) == [("bad", "set back")]

"""Every check fails on data that is really damaged, and says what, where and how to mend it; some stop what follows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from video_assets.definitions import defs
from video_assets.defs.checks import points_result
from video_assets.defs.jobs import CHAIN_ASSETS as CHAIN
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.counts import duplicates, item_counts
from video_assets.table_store.items import ItemRecord, ItemRecords
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, VECTOR_INDEX, VIDEO_MANIFEST
from video_assets_tests.defs.fleet_in_memory import SmallFleet, small_fleet

KEY = "2026-01-05|veh-1"
DAY = Partition.from_key(KEY)
CAMERAS = ("front", "rear")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFleet]:
    """A day of two videos, made whole."""
    with small_fleet(tmp_path_factory.mktemp("fleet"), ["veh-1"]) as fleet:
        for camera in CAMERAS:
            fleet.upload(f"veh-1/2026-01-05/{camera}/083000.mp4")
        result = fleet.run(CHAIN, partition_key=KEY)
        assert result.success
        assert {name: passed for name, (passed, _) in checks(result).items() if not passed} == {}
        yield fleet


@pytest.fixture
def fleet(made: SmallFleet) -> Iterator[SmallFleet]:
    """The same store in each test; what a test damages is put back."""
    aside = made.root / "aside"
    shutil.copytree(made.root / "store", aside)
    yield made
    shutil.rmtree(made.root / "store")
    aside.rename(made.root / "store")


def checks(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    """Whether each check passed, and what it says."""
    evaluations = result.get_asset_check_evaluations()
    assert all(evaluation.partition == KEY for evaluation in evaluations)
    return {
        f"{evaluation.asset_key.path[-1]}.{evaluation.check_name}": (evaluation.passed, str(evaluation.description))
        for evaluation in evaluations
    }


def failing(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {name: text for name, (passed, text) in checks(result).items() if not passed}


def made_assets(result: dg.ExecuteInProcessResult) -> set[str]:
    return {e.asset_key.path[-1] for e in result.all_events if e.is_step_materialization and e.asset_key}


def objects(fleet: SmallFleet, table: str, kind: str) -> list[Path]:
    return sorted((fleet.root / "store" / table / DAY.path / kind).iterdir())


def test_what_checks_there_are_and_which_block() -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.to_user_string() for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == {
        *(f"{table}:rows_unique" for table in CHAIN),
        *(f"{table}:no_item_lost" for table in ("clips", "frames", "embeddings")),
        "embeddings:vectors_sound",
    }


def damage_vectors(fleet: SmallFleet, change: Any) -> Path:
    record = objects(fleet, "embeddings", "items")[0]
    table = pq.read_table(record)
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    changed = change(vectors)
    column = pa.FixedSizeListArray.from_arrays(pa.array(changed.reshape(-1)), changed.shape[1])
    pq.write_table(table.drop_columns("vector").append_column("vector", column), record)
    return record


def with_nan(vectors: Any) -> Any:
    vectors[0, 7] = np.nan
    return vectors


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_nan, "has 1 vectors that are not numbers, number 0 for one"),
        (lambda vectors: vectors * 2, "vectors not of length 1: number 0 has 2"),
        (lambda vectors: vectors[:, :64], "has vectors of 64 dimensions, not 1280"),
    ],
    ids=["nan", "length", "dimension"],
)
def test_vectors_that_are_none_never_reach_the_index(fleet: SmallFleet, change: Any, says: str) -> None:
    record = damage_vectors(fleet, change)
    result = fleet.run(["embeddings", "vector_index"], partition_key=KEY, raise_on_error=False)
    assert not result.success
    assert made_assets(result) == {"embeddings"}, "the index is not touched"
    ((name, text),) = failing(result).items()
    assert name == "embeddings.vectors_sound"
    assert f"/{record.name} has" in text
    assert says in text
    assert "Delete the file, and materialize embeddings again" in text
    record.unlink()
    mended = fleet.run(["embeddings", "vector_index"], partition_key=KEY)
    assert (mended.success, failing(mended)) == (True, {})


def run_check(fleet: SmallFleet, table: str) -> tuple[bool, str]:
    """The check of blobs alone. A job of checks only is not known to be partitioned: it goes by the run's tag."""
    check = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(table), "blobs_exist"))
    result = fleet.run([], tags={"dagster/partition": KEY}, selection=check)
    return checks(result)[f"{table}.blobs_exist"]


@pytest.mark.parametrize(("table", "kind"), [("clips", "blobs"), ("frames", "blobs"), ("embeddings", "items")])
def test_an_object_that_is_gone_is_noticed_and_made_again(fleet: SmallFleet, table: str, kind: str) -> None:
    assert run_check(fleet, table) == (True, "None")
    path = objects(fleet, table, kind)[0]
    path.unlink()
    passed, text = run_check(fleet, table)
    assert not passed
    assert f"/{path.name} is not there" in text
    assert f"then materialize {table}: what is missing is made again" in text
    mended = fleet.run([table], partition_key=KEY)
    assert (mended.success, failing(mended), path.exists()) == (True, {}, True)


@pytest.mark.parametrize(("table", "says"), [("clips", "has 100 bytes, not"), ("frames", "and an image ends at")])
def test_an_object_cut_short_is_noticed(fleet: SmallFleet, table: str, says: str) -> None:
    path = objects(fleet, table, "blobs")[0]
    path.write_bytes(path.read_bytes()[:100])
    passed, text = run_check(fleet, table)
    assert not passed
    assert path.name in text
    assert says in text
    path.unlink()
    assert fleet.run([table], partition_key=KEY).success
    assert run_check(fleet, table) == (True, "None")


def test_records_that_hold_a_row_twice_end_the_run(fleet: SmallFleet) -> None:
    records = ItemRecords(fleet.tables.store, FRAMES, DAY)
    item = fleet.tables.read(FRAMES, DAY)["item_id"][0].as_py()
    record = records.read(item)
    records.publish(ItemRecord(item, pa.concat_tables([record.rows, record.rows[:1]]), record.status, record.attempts))
    result = fleet.run(["frames", "embeddings"], partition_key=KEY, raise_on_error=False)
    assert made_assets(result) == {"frames"}
    found = failing(result)
    assert "frame_idx" in found["frames.rows_unique"]
    assert "is there 2 times" in found["frames.rows_unique"]
    assert "delete items/ beside the table" in found["frames.rows_unique"]


def test_a_frame_lost_from_its_record_is_noticed(fleet: SmallFleet) -> None:
    records = ItemRecords(fleet.tables.store, FRAMES, DAY)
    item = fleet.tables.read(FRAMES, DAY)["item_id"][0].as_py()
    record = records.read(item)
    records.publish(ItemRecord(item, record.rows[:-1], record.status, record.attempts))
    result = fleet.run(["frames"], partition_key=KEY)
    assert result.success, "what is there is right"
    ((name, text),) = failing(result).items()
    assert name == "frames.samples_as_promised"
    assert "has no frame at pts" in text
    (fleet.root / "store" / "frames" / DAY.path / "items" / f"{item}.parquet").unlink()
    assert failing(fleet.run(["frames"], partition_key=KEY)) == {}


def test_points_that_the_index_lost_are_told_with_the_way_out() -> None:
    rows = [{"model": "one", "vectors": 5, "points": 3}, {"model": "two", "vectors": 5, "points": 5}]
    result = points_result(Fold(VECTOR_INDEX, DAY, VECTOR_INDEX.rows(rows), None))
    assert not result.passed
    assert result.description == "one: 3 points of 5 vectors. Materialize vector_index of this partition again."
    assert {name: value.value for name, value in result.metadata.items()} == {"wrong": 1, "points": 8, "vectors": 10}


def test_counts_that_do_not_add_up(fleet: SmallFleet) -> None:
    rows, upstream = fleet.tables.read(CLIPS, DAY), fleet.tables.read(VIDEO_MANIFEST, DAY)
    whole = item_counts(Fold(CLIPS, DAY, rows, None, upstream=upstream))
    assert (whole.input, whole.ok, whole.failed, whole.filtered, whole.add_up) == (2, 2, 0, 0, True)
    assert not item_counts(Fold(CLIPS, DAY, rows[:1], None, upstream=upstream)).add_up
    strange = rows.set_column(rows.schema.get_field_index("status"), "status", pa.array(["ok", "lost"]))
    assert item_counts(Fold(CLIPS, DAY, strange, None, upstream=upstream)).odd == 1


def test_ids_that_two_rows_share(fleet: SmallFleet) -> None:
    rows = fleet.tables.read(EMBEDDINGS, DAY)
    assert duplicates(EMBEDDINGS, rows) == []
    image = rows["image_id"].to_pylist()
    same = rows.set_column(0, "image_id", pa.array([image[1], *image[1:]]))
    (told,) = duplicates(EMBEDDINGS, same)
    assert told == f"model, image_id mobilenet_v2, {image[1]} is there 2 times"


def test_a_deletion_that_looks_like_a_mistake_is_a_warning_of_the_manifest(fleet: SmallFleet) -> None:
    video = fleet.root / f"uploads/veh-1/2026-01-05/{CAMERAS[0]}/083000.mp4"
    aside = video.rename(video.with_suffix(".aside"))
    result = fleet.run(["video_manifest"], partition_key=KEY, settings={"on_source_delete": "remove"})
    aside.rename(video)
    assert result.success
    ((name, text),) = failing(result).items()
    assert name == "video_manifest.deletions_taken_over"
    assert text.startswith("1 of 2 videos are gone from the source, more than 20%: no row was removed")
    assert ("WARNING", text) in fleet.log(result)
    (event,) = result.asset_materializations_for_node("video_manifest")
    assert (event.metadata["gone"].value, event.metadata["removed"].value) == (1, 0)


def test_vehicles_that_fell_silent_are_named(tmp_path: Path) -> None:
    with small_fleet(tmp_path, ["veh-1", "veh-2", "veh-3"]) as fleet:
        today = datetime.now(UTC).date()
        for vehicle, age_h, day in (("veh-1", 1, today), ("veh-2", 60, today - timedelta(days=3))):
            rows = VIDEO_MANIFEST.rows(
                [
                    {
                        "video_path": f"file:///{vehicle}.mp4",
                        "last_modified": f"{datetime.now(UTC) - timedelta(hours=age_h):%Y-%m-%d %H:%M:%S}",
                        "status": "ok",
                    }
                ]
            )
            fleet.tables.commit(Fold(VIDEO_MANIFEST, Partition(day.isoformat(), vehicle), rows, None))
        check = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("raw_uploads"), "no_vehicle_is_silent"))
        (found,) = fleet.run([], selection=check).get_asset_check_evaluations()
        assert (found.passed, found.severity, found.partition) == (False, dg.AssetCheckSeverity.WARN, None)
        assert str(found.description).startswith("2 of 3 vehicles silent for 48 h: veh-2 (last upload ")
        assert str(found.description).endswith("; veh-3")
        assert found.metadata["names"].value == ["veh-2", "veh-3"]
        (found,) = fleet.run([], selection=check, settings={"silent_after_h": 100}).get_asset_check_evaluations()
        assert found.metadata["names"].value == ["veh-3"]


def test_the_fleet_is_fresh_by_any_vehicles_upload() -> None:
    (spec,) = [spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey("raw_uploads")]
    assert spec.freshness_policy == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=48), warn_window=timedelta(hours=24)
    )


def test_automation_waits_for_blocking_checks_of_the_same_partition(tmp_path: Path) -> None:
    """Measured: without a check of the partition's own, another vehicle's pass would let the bad one through."""
    with small_fleet(tmp_path, ["veh-1", "veh-2"]) as fleet:
        keys = {vehicle: f"2026-01-05|{vehicle}" for vehicle in ("veh-1", "veh-2")}
        for vehicle in keys:
            fleet.upload(f"{vehicle}/2026-01-05/front/083000.mp4")
        cursor = dg.evaluate_automation_conditions(defs, fleet.instance).cursor
        for vehicle, key in keys.items():
            fleet.run(["video_manifest", "clips"], partition_key=key)
            if vehicle == "veh-1":
                records = ItemRecords(fleet.tables.store, CLIPS, Partition.from_key(key))
                item = fleet.tables.read(CLIPS, Partition.from_key(key))["item_id"][0].as_py()
                twice = pa.concat_tables([records.read(item).rows] * 2)
                records.publish(ItemRecord(item, twice, "ok", 1))
                assert not fleet.run(["clips"], partition_key=key, raise_on_error=False).success
        found = dg.evaluate_automation_conditions(defs, fleet.instance, cursor=cursor)
        assert found.get_requested_partitions(dg.AssetKey("frames")) == {keys["veh-2"]}


def test_a_collection_of_garbage_tells_what_it_took(fleet: SmallFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from video_assets.defs import garbage

    settings = Settings(store=str(fleet.root / "store"))
    monkeypatch.setattr(garbage, "deployment", lambda: (settings, fleet.tables))
    blob = fleet.root / "store" / "clips" / DAY.path / "blobs" / f"{'0' * 32}.mp4"
    blob.write_bytes(b"12345")
    (fleet.root / "store" / "notes.txt").write_text("mine")

    def collect(**config: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        result = garbage.garbage_job.execute_in_process(
            instance=fleet.instance, run_config={"ops": {"take_garbage": {"config": config}}}
        )
        (output,) = [event for event in result.all_events if event.is_successful_output]
        metadata = output.step_output_data.metadata
        return {name: value.value for name, value in metadata.items() if name != "counts"}, fleet.log(result)

    told, log = collect(grace_h=0.0, dry_run=True)
    assert (told["objects"], told["bytes"], told["kept_unknown"], blob.exists()) == (1, 5, 1, True)
    assert ("INFO", "1 object of 5 bytes would be taken; 1 unknown object left") in log
    told, _ = collect()
    assert (told["objects"], told["kept_young"], blob.exists()) == (0, 1, True)
    told, log = collect(grace_h=0.0)
    assert (told["objects"], told["bytes"], blob.exists()) == (1, 5, False)
    assert ("INFO", f"clips {KEY}: 1 taken") in log

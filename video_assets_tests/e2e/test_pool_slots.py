"""A cancelled run gives its pool's slot back: otherwise a pool of one would stand still for ever."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from video_assets.dagster_home import prepare_home
from video_assets.definitions import defs
from video_assets.defs.jobs import unmatched_job
from video_assets_tests.e2e.fleet import Fleet
from video_assets_tests.e2e.test_dagster_processes import ROOT, eventually, running

pytestmark = pytest.mark.timeout(120)


def test_a_cancelled_runs_slot_is_freed_by_the_daemon(tmp_path: Path) -> None:
    """With our dagster.yaml, but for the times, which are minutes there."""
    (tmp_path / "uploads").mkdir()
    fleet = Fleet(tmp_path / "uploads", tmp_path).at(tmp_path / "home")
    (fleet.home / "dagster.yaml").unlink()
    prepare_home(fleet.home)
    config = (fleet.home / "dagster.yaml").read_text()
    hasty = config.replace("end_seconds: 300", "end_seconds: 1").replace("interval_seconds: 60", "interval_seconds: 1")
    assert hasty.count("_seconds: 1\n") == 2
    (fleet.home / "dagster.yaml").write_text(hasty)
    with dg.DagsterInstance.from_config(str(fleet.home)) as instance:
        pool = instance.event_log_storage
        pool.set_concurrency_slots("decode", 1)
        run = instance.create_run_for_job(defs.resolve_job_def(unmatched_job.name))
        assert pool.claim_concurrency_slot("decode", run.run_id, "frames").is_claimed
        instance.report_run_canceled(run)
        assert not pool.claim_concurrency_slot("decode", "another", "frames").is_claimed
        pool.free_concurrency_slots_for_run("another")
        with running(fleet, "dagster-daemon", "run", "-w", str(ROOT / "workspace.yaml")):
            eventually(lambda: not pool.get_concurrency_info("decode").active_run_ids, 90)
        assert pool.claim_concurrency_slot("decode", "another", "frames").is_claimed

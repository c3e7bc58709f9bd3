"""The code location with tables in MaxCompute, and with the table of three columns that others read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from video_assets.io_managers.table_io_manager import TableIOManager
from video_assets.table_store import odps_handle
from video_assets.table_store.table_store import Fold
from video_assets.tables import VIDEO_MANIFEST
from video_assets_tests.servers.odps_environment import ACCESS_ID, SECRET, odps_server, odps_variables
from video_assets_tests.servers.odps_server import Fault
from video_assets_tests.table_store.odps_tables import opener_of
from video_assets_tests.table_store.table_store_contract import DAY, videos
from video_assets_tests.video.make_video import make_video

MATERIALIZE = """
import json
import dagster as dg
from video_assets.definitions import defs

job = defs.resolve_implicit_global_asset_job_def()
with dg.DagsterInstance.get() as instance:
    instance.add_dynamic_partitions("vehicle", ["veh-7"])
    for name, key in (("video_manifest", "2026-01-03|veh-7"), ("clips", "2026-01-03|veh-7"), ("flat_manifest", None)):
        result = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(name)], partition_key=key)
        (event,) = result.asset_materializations_for_node(name)
        print(json.dumps({name: value.value for name, value in event.metadata.items()}, default=str))
print({name: str(resource) for name, resource in (defs.resources or {}).items()})
"""


def test_a_run_with_tables_in_odps_commits_to_them_and_refreshes_the_flat_table(tmp_path: Path) -> None:
    for camera in ("front", "rear"):
        path = tmp_path / f"uploads/veh-7/2026-01-03/{camera}/083000.mp4"
        path.parent.mkdir(parents=True)
        make_video(path, frames=45)
    with odps_server() as server:
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VIDEO_ASSETS_")},
            **odps_variables(server),
            "DAGSTER_HOME": str(tmp_path / "home"),
            "VIDEO_ASSETS_SOURCE": str(tmp_path / "uploads"),
            "VIDEO_ASSETS_STORE": str(tmp_path / "store"),
            "VIDEO_ASSETS_INDEX": str(tmp_path / "index"),
            "VIDEO_ASSETS_SETTLE_S": "0",
            "VIDEO_ASSETS_WORKERS": "1",
            "VIDEO_ASSETS_TABLES": "odps",
            "VIDEO_INPUT_TABLE": "video_input",
            "VIDEO_ASSETS_FLAT_TABLE": "video_flat",
        }
        (tmp_path / "home").mkdir()
        (tmp_path / "home/dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        command = [sys.executable, "-c", MATERIALIZE]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=250)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        rows = {table.name: sum(len(p.rows) for p in table.partitions.values()) for table in server.warehouse.tables()}
    assert rows == {"video_input": 2, "video_flat": 2, "video_assets_clips": 2}
    assert '"dagster/uri": "odps://fleet/video_input/ds=20260103/vehicle=veh-7"' in said
    assert '"dagster/uri": "odps://fleet/video_flat"' in said
    assert '"videos": 2' in said
    for secret in (SECRET, ACCESS_ID):
        assert secret not in said
        kept = [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert not kept, "no secret in the history, the tables or the store"


def test_an_outage_at_the_commit_asks_for_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odps_handle, "RETRY_S", 0.2)
    with odps_server() as server:
        tables = opener_of(server, tmp_path)()
        manager, context = TableIOManager(tables), dg.build_output_context(asset_key=VIDEO_MANIFEST.name)
        fold = Fold(VIDEO_MANIFEST, DAY, videos("file:///a"), None)
        server.faults = [Fault("CommitUpload", times=99, status=503)]
        with pytest.raises(dg.RetryRequested):
            manager.handle_output(context, {DAY.key: fold})
        server.faults = []
        manager.handle_output(context, {DAY.key: fold})
        assert tables.read(VIDEO_MANIFEST, DAY).equals(videos("file:///a"))

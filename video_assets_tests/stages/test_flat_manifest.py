"""The manifest of three columns that other MaxCompute jobs read, written with a handle of the caller's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from video_assets.stages.flat_manifest import NothingListed, build_manifest
from video_assets.storage.object_store import ObjectInfo
from video_assets.storage.registry import open_store
from video_assets.table_store.table_store import SchemaMismatch
from video_assets_tests.servers.odps_environment import ACCESS_ID, SECRET, odps_server, odps_variables
from video_assets_tests.servers.odps_server import PROJECT, OdpsServer
from video_assets_tests.servers.oss_environment import oss_environment

BEGUN = datetime(2026, 1, 3, 8, 30, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[OdpsServer]:
    with odps_server() as server:
        yield server


@pytest.fixture
def o(server: OdpsServer) -> Any:
    """The handle of a DataWorks node: made by pyodps alone."""
    from odps import ODPS

    return ODPS(ACCESS_ID, SECRET, PROJECT, server.endpoint)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    for key in ("veh-7/a b.mp4", "veh-7/é.MOV", "veh-9/c.mp4", "notes.txt", "veh-9/empty.mp4"):
        path = tmp_path / "uploads" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if "empty" in key else b"video")
        os.utime(path, (BEGUN.timestamp(),) * 2)
    (tmp_path / "uploads/fresh.mp4").write_bytes(b"still written")
    return tmp_path / "uploads"


def rows_of(o: Any, table: str) -> list[list[Any]]:
    with o.execute_sql(f"select * from {table} order by video_path").open_reader(tunnel=True) as reader:
        return [record.values for record in reader]


def test_the_table_has_exactly_three_columns_and_every_video(server: OdpsServer, o: Any, uploads: Path) -> None:
    said: list[str] = []
    built = build_manifest(o, uploads.as_uri(), "video_input", lifecycle=9, report=said.append)
    stored = server.warehouse.table("video_input")
    assert [(c.name, c.type) for c in stored.schema.columns] == [
        ("video_path", "string"),
        ("size_bytes", "bigint"),
        ("last_modified", "string"),
    ]
    assert (stored.schema.partition_columns, stored.lifecycle) == ((), 9)
    paths = [(uploads / key).as_uri() for key in ("veh-7/a b.mp4", "veh-7/é.MOV", "veh-9/c.mp4")]
    assert rows_of(o, "video_input") == [[path, 5, "2026-01-03 08:30:00"] for path in sorted(paths)]
    assert (built.videos, built.size_bytes) == (3, 15)
    assert built.skipped == {"empty": 1, "extension": 1, "settling": 1}
    assert said[-1].startswith("3 videos, 15 bytes, in video_input; skipped 1 empty, 1 extension, 1 settling; ")


def test_it_is_replaced_as_a_whole(o: Any, uploads: Path) -> None:
    for _ in range(2):
        build_manifest(o, uploads.as_uri(), "video_input", report=lambda line: None)
        assert len(rows_of(o, "video_input")) == 3
    (uploads / "veh-9/c.mp4").unlink()
    build_manifest(o, uploads.as_uri(), "video_input", report=lambda line: None)
    assert len(rows_of(o, "video_input")) == 2


def test_a_wrong_prefix_does_not_empty_the_table(o: Any, uploads: Path, tmp_path: Path) -> None:
    build_manifest(o, uploads.as_uri(), "video_input", report=lambda line: None)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("x")
    with pytest.raises(NothingListed, match=r"left as it is \(passed over: 1 extension\)"):
        build_manifest(o, (tmp_path / "other").as_uri(), "video_input", report=lambda line: None)
    assert len(rows_of(o, "video_input")) == 3


def test_a_table_with_other_columns_is_refused(o: Any, uploads: Path) -> None:
    o.execute_sql("create table video_input (video_path string, camera string)")
    with pytest.raises(SchemaMismatch, match="camera"):
        build_manifest(o, uploads.as_uri(), "video_input", report=lambda line: None)


def test_paths_of_oss_begin_with_what_consumers_mount(o: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with oss_environment(monkeypatch) as oss:
        prefix = f"oss://{oss.endpoint}/fleet/raw/2026"
        open_store(prefix).put("veh-7/front/083000.mp4", b"video")
        build_manifest(o, prefix, "video_input", settle_s=0, report=lambda line: None)
        ((path, size, _),) = rows_of(o, "video_input")
        assert (path, size) == (f"{prefix}/veh-7/front/083000.mp4", 5)
        assert Path(f"/mnt{path.removeprefix(prefix)}") == Path("/mnt/veh-7/front/083000.mp4")


def test_many_objects_go_up_in_blocks(
    server: OdpsServer, o: Any, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from odps import options

    from video_assets.stages import flat_manifest

    monkeypatch.setattr(flat_manifest, "BATCH_ROWS", 1000)
    objects = (ObjectInfo(f"{number:07d}.mp4", number + 1, "e", BEGUN) for number in range(20_000))
    whole = options.tunnel.block_buffer_size
    options.tunnel.block_buffer_size = 100_000
    try:
        built = build_manifest(o, uploads.as_uri(), "video_input", objects=objects, report=lambda line: None)
    finally:
        options.tunnel.block_buffer_size = whole
    assert built.videos == 20_000
    assert server.requests.count("PutBlock") > 5
    with o.execute_sql("select count(*), sum(size_bytes) from video_input").open_reader(tunnel=True) as reader:
        assert [record.values for record in reader] == [[20_000, 20_000 * 20_001 // 2]]


def test_a_node_needs_no_dagster() -> None:
    code = (
        "import sys; from video_assets.stages.flat_manifest import build_manifest; "
        "sys.exit('dagster' in sys.modules or 'av' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_command_writes_it_from_the_settings(server: OdpsServer, o: Any, uploads: Path, tmp_path: Path) -> None:
    variables = {
        **os.environ,
        **odps_variables(server),
        "VIDEO_ASSETS_SOURCE": str(uploads),
        "VIDEO_ASSETS_STORE": str(tmp_path / "store"),
        "VIDEO_INPUT_TABLE": "video_input",
        "MANIFEST_LIFECYCLE": "7",
    }
    command = [sys.executable, "-c", "from video_assets.cli import app; app()", "manifest", "build", "--json"]
    begun = time.monotonic()
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    assert (built["table"], built["videos"], built["skipped"]["empty"]) == ("video_input", 3, 1)
    assert 0 < built["seconds"] <= time.monotonic() - begun
    assert server.warehouse.table("video_input").lifecycle == 7
    assert SECRET not in done.stdout + done.stderr
    assert len(rows_of(o, "video_input")) == 3

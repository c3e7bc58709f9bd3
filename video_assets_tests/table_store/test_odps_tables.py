"""Tables in MaxCompute: what the service sees, what others did to it, and what goes wrong on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from video_assets.keys import Partition, partition_root
from video_assets.settings import Settings, SettingsError
from video_assets.storage.registry import open_store
from video_assets.table_store import odps_handle
from video_assets.table_store.odps import OdpsTables
from video_assets.table_store.odps_errors import OdpsError, OdpsNotPermitted, OdpsUnavailable
from video_assets.table_store.odps_handle import open_handle
from video_assets.table_store.registry import open_tables
from video_assets.table_store.table_store import Fold, PartitionNotFound, SchemaMismatch
from video_assets.tables import FLEET_DAILY, UNMATCHED, VIDEO_MANIFEST
from video_assets_tests.servers.odps_environment import ACCESS_ID, SECRET, odps_server, odps_settings, odps_variables
from video_assets_tests.servers.odps_server import Fault, OdpsServer
from video_assets_tests.table_store.odps_tables import open_odps_tables, opener_of
from video_assets_tests.table_store.table_store_contract import DAY, commit, videos


@pytest.fixture
def server() -> Iterator[OdpsServer]:
    with odps_server() as server:
        yield server


@pytest.fixture
def tables(server: OdpsServer, tmp_path: Path) -> OdpsTables:
    return opener_of(server, tmp_path, video_input_table="video_input")()  # type: ignore[return-value]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odps_handle, "RETRY_S", 0.5)


def sql(tables: OdpsTables, statement: str) -> Any:
    """Runs a statement; the rows of a SELECT through the instance tunnel."""
    instance = tables.handle.execute_sql(statement, hints={"odps.sql.type.system.odps2": "true"})
    if not statement.lower().startswith("select"):
        return None
    with instance.open_reader(tunnel=True) as reader:
        return [record.values for record in reader]


def test_the_manifest_is_made_as_other_jobs_expect_it(server: OdpsServer, tables: OdpsTables) -> None:
    commit(tables, videos("file:///a", last_modified="2026-01-03 08:30:00"))
    stored = server.warehouse.table("video_input")
    assert [(c.name, c.type) for c in stored.schema.columns][:3] == [
        ("video_path", "string"),
        ("size_bytes", "bigint"),
        ("last_modified", "string"),
    ]
    assert [(c.name, c.type) for c in stored.schema.partition_columns] == [("ds", "string"), ("vehicle", "string")]
    assert stored.lifecycle == 30
    assert stored.comment == VIDEO_MANIFEST.description
    assert all(c.comment for c in (*stored.schema.columns, *stored.schema.partition_columns))
    assert list(stored.partitions) == [("20260103", "veh-7")]
    rows = sql(tables, "select video_path, size_bytes, last_modified from video_input where ds = '20260103'")
    assert rows == [["file:///a", 1, "2026-01-03 08:30:00"]]
    assert tables.uri(VIDEO_MANIFEST, DAY) == "odps://fleet/video_input/ds=20260103/vehicle=veh-7"


def test_other_tables_have_the_prefix_and_no_end(server: OdpsServer, tmp_path: Path) -> None:
    tables = opener_of(server, tmp_path, table_prefix="fleet_", manifest_lifecycle=7)()
    for table, day in ((VIDEO_MANIFEST, DAY), (FLEET_DAILY, Partition(DAY.date)), (UNMATCHED, None)):
        tables.commit(Fold(table, day, table.schema.empty_table(), None))
    assert {t.name: t.lifecycle for t in server.warehouse.tables()} == {
        "fleet_video_manifest": 7,
        "fleet_fleet_daily": None,
        "fleet_unmatched": None,
    }


TWICE_IN_NEW_YORK = """
import sys
from datetime import UTC, datetime
from video_assets.settings import load_settings
from video_assets_tests.table_store.test_odps_tables import *
tables = open_tables(load_settings(), create=True)
times = [datetime(2026, 11, 1, hour, 30, 0, 1, UTC) for hour in (5, 6)]
commit(tables, VIDEO_MANIFEST.rows([{"video_path": str(t), "start_time": t} for t in times]))
assert tables.read(VIDEO_MANIFEST, DAY)["start_time"].to_pylist() == times
"""


def test_times_are_utc_for_sql_whatever_zone_the_machine_is_in(
    server: OdpsServer, tables: OdpsTables, tmp_path: Path
) -> None:
    variables = {
        **os.environ,
        **odps_variables(server),
        "TZ": "America/New_York",
        "VIDEO_ASSETS_TABLES": "odps",
        "VIDEO_ASSETS_STORE": str(tmp_path / "store"),
        "VIDEO_INPUT_TABLE": "video_input",
    }
    subprocess.run([sys.executable, "-c", TWICE_IN_NEW_YORK], env=variables, check=True, timeout=60)
    found = sql(tables, "select cast(start_time as string) from video_input order by 1")
    assert [row[0][:19] for row in found] == ["2026-11-01 05:30:00", "2026-11-01 06:30:00"]


def test_a_table_that_lacks_columns_is_given_them(server: OdpsServer, tables: OdpsTables) -> None:
    sql(
        tables,
        "create table video_input (video_path string, size_bytes bigint) "
        "partitioned by (ds string, vehicle string) lifecycle 3",
    )
    sql(tables, "alter table video_input add partition (ds='20260101', vehicle='veh-1')")
    early = Partition("2026-01-01", "veh-1")
    assert tables.version(VIDEO_MANIFEST, early) is None
    commit(tables, videos("file:///a"))
    assert [c.name for c in server.warehouse.table("video_input").schema.columns] == VIDEO_MANIFEST.schema.names
    assert tables.read(VIDEO_MANIFEST, DAY).equals(videos("file:///a"))


def test_rows_that_others_wrote_are_read_and_overwritten(server: OdpsServer, tables: OdpsTables) -> None:
    commit(tables, videos("file:///a"))
    commit(tables, videos("file:///x"), Partition("2026-01-04", "veh-7"))
    stored = server.warehouse.table("video_input")
    stored.partitions[("20260109", "veh-9")] = stored.partitions[("20260103", "veh-7")]
    stored.partitions[("not a day", "veh-9")] = stored.partitions[("20260103", "veh-7")]
    theirs = Partition("2026-01-09", "veh-9")
    assert [p.key for p in tables.partitions(VIDEO_MANIFEST)][-1] == theirs.key
    assert tables.read(VIDEO_MANIFEST, theirs).num_rows == 1
    assert tables.provenance(VIDEO_MANIFEST, theirs) is None
    assert commit(tables, videos(), theirs)
    assert tables.read(VIDEO_MANIFEST, theirs).num_rows == 0


def test_what_the_lifecycle_took_is_unknown_not_empty(server: OdpsServer, tables: OdpsTables) -> None:
    commit(tables, videos("file:///a"))
    server.warehouse.table("video_input").partitions.clear()
    assert tables.version(VIDEO_MANIFEST, DAY) is None
    assert tables.provenance(VIDEO_MANIFEST, DAY) is None
    with pytest.raises(PartitionNotFound):
        tables.read(VIDEO_MANIFEST, DAY)
    assert commit(tables, videos())
    assert tables.read(VIDEO_MANIFEST, DAY).num_rows == 0


def test_a_first_commit_that_died_half_way_is_no_commit(
    server: OdpsServer, tables: OdpsTables, impatient: None
) -> None:
    server.faults = [Fault("CommitUpload", times=99, status=500)]
    with pytest.raises(OdpsUnavailable):
        commit(tables, videos("file:///a"))
    assert list(server.warehouse.table("video_input").partitions) == [("20260103", "veh-7")], "made for the session"
    assert tables.version(VIDEO_MANIFEST, DAY) is None
    assert list(tables.partitions(VIDEO_MANIFEST)) == []
    server.faults = []
    assert commit(tables, videos())
    assert tables.version(VIDEO_MANIFEST, DAY) is not None


def test_a_record_of_another_project_or_a_damaged_one_says_nothing(tables: OdpsTables, tmp_path: Path) -> None:
    commit(tables, videos())
    store = open_store(str(tmp_path / "store"))
    key = partition_root(VIDEO_MANIFEST.name, DAY) + "commit.json"
    record = json.loads(store.get(key))
    for data in (json.dumps({**record, "place": "other/video_input"}), "{", "[]", '{"place": 1}'):
        store.put(key, data.encode())
        assert tables.version(VIDEO_MANIFEST, DAY) is None
    store.put(key, json.dumps(record).encode())
    assert tables.version(VIDEO_MANIFEST, DAY) is not None


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            "create table video_input (video_path string, weather string) partitioned by (ds string, vehicle string)",
            "a column weather that is not of video_manifest",
        ),
        (
            "create table video_input (size_bytes string) partitioned by (ds string, vehicle string)",
            "column size_bytes is string, not bigint",
        ),
        ("create table video_input (video_path string)", "partitioned by nothing, not ds, vehicle"),
        ("create view video_input as select 'a' as video_path", "is a view, which takes no rows"),
    ],
    ids=["column", "type", "partitions", "view"],
)
def test_a_table_that_cannot_be_ours_is_left_alone(
    server: OdpsServer, tables: OdpsTables, made: str, told: str
) -> None:
    sql(tables, made)
    before = server.warehouse.table("video_input").schema
    with pytest.raises(SchemaMismatch, match=told) as error:
        tables.commit(Fold(VIDEO_MANIFEST, DAY, videos("file:///a"), None))
    assert "name another table" in error.value.remedy
    assert server.warehouse.table("video_input").schema == before


OPERATIONS = ("GetTable", "CreateInstance", "CreateUpload", "PutBlock", "CommitUpload", "CreateDownload", "ReadRows")


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        *((operation, Fault(status=500)) for operation in OPERATIONS),
        *((operation, Fault(lose_answer=True)) for operation in ("CreateInstance", "PutBlock", "CommitUpload")),
        ("GetTable", Fault(status=503)),
        ("PutBlock", Fault(status=429, code="FlowExceeded")),
    ],
    ids=lambda value: value if isinstance(value, str) else "lost" if value.lose_answer else str(value.status),
)
def test_what_passes_is_waited_for(server: OdpsServer, tables: OdpsTables, operation: str, fault: Fault) -> None:
    if operation == "CreateInstance":
        commit(tables, videos())
        server.warehouse.drop("video_input")
    server.faults = [Fault(operation, 1, fault.status, fault.code, lose_answer=fault.lose_answer)]
    commit(tables, videos("file:///a"))
    assert tables.read(VIDEO_MANIFEST, DAY)["video_path"].to_pylist() == ["file:///a"]
    assert server.faults[0].times == 0


def test_rows_that_were_cut_off_are_asked_for_again(server: OdpsServer, tables: OdpsTables) -> None:
    rows = videos(*(f"file:///{number:06d}" for number in range(3000)))
    commit(tables, rows)
    size = 60_000
    for cut_at in (0, 4, 100, 65_540, 65_544, size):
        server.faults = [Fault("ReadRows", 1, cut_at=cut_at)]
        assert tables.read(VIDEO_MANIFEST, DAY).equals(rows)
        assert server.faults[0].times == 0


def test_rows_replaced_while_they_are_read_are_read_anew(server: OdpsServer, tables: OdpsTables) -> None:
    commit(tables, videos("file:///a"))
    server.faults = [Fault("ReadRows", 1, status=400, code="TableModified")]
    assert tables.read(VIDEO_MANIFEST, DAY).equals(videos("file:///a"))


@pytest.mark.parametrize(
    "fault",
    [Fault(times=99, status=500), Fault(times=99, status=429), Fault(times=99, reset=True)],
    ids=["500", "429", "reset"],
)
def test_what_does_not_pass_ends(server: OdpsServer, tables: OdpsTables, impatient: None, fault: Fault) -> None:
    commit(tables, videos("file:///a"))
    server.faults = [Fault("", 99, fault.status, fault.code, reset=fault.reset)]
    begun = time.monotonic()
    with pytest.raises(OdpsUnavailable) as error:
        tables.read(VIDEO_MANIFEST, DAY)
    assert time.monotonic() - begun < 60
    assert ACCESS_ID not in str(error.value)


@pytest.mark.parametrize(
    ("change", "told", "remedy"),
    [
        ({"odps_access_key": "wrong"}, "the access key is not accepted", "ODPS_ACCESS_KEY"),
        ({"odps_access_id": "nobody"}, "the access key is not accepted", "ODPS_ACCESS_ID"),
        ({"odps_sts_token": "token"}, "the access key is not accepted", "ODPS_STS_TOKEN"),
        ({"odps_project": "nothere"}, "there is no project 'nothere'", "ODPS_PROJECT"),
        ({"odps_endpoint": "http://127.0.0.1:9/api"}, "cannot be reached", "ODPS_ENDPOINT"),
        ({"odps_region_name": "cn-elsewhere"}, "the access key is not accepted", "ODPS_ACCESS_KEY"),
    ],
    ids=["key", "id", "expired", "project", "endpoint", "region"],
)
def test_wrong_settings_are_told_apart(
    server: OdpsServer, tmp_path: Path, impatient: None, change: dict[str, str], told: str, remedy: str
) -> None:
    if "odps_sts_token" in change:
        server.accounts[ACCESS_ID].token = "token"
        server.accounts[ACCESS_ID].expired = True
    fields = {**odps_settings(server), "store": str(tmp_path / "store"), **change}
    with pytest.raises(OdpsError, match=re.escape(told)) as error:
        open_odps_tables(**fields).version(VIDEO_MANIFEST, DAY)
    assert remedy in error.value.remedy
    for secret in (SECRET, ACCESS_ID, "wrong"):
        assert secret not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("privilege", ["CreateTable", "Describe", "Update", "Download"])
def test_a_missing_privilege_is_named(server: OdpsServer, tables: OdpsTables, privilege: str) -> None:
    server.accounts[ACCESS_ID].denied = {privilege}

    def write_and_read() -> None:
        commit(tables, videos("file:///a"))
        tables.read(VIDEO_MANIFEST, DAY)

    with pytest.raises(OdpsNotPermitted, match=f"odps:{privilege}"):
        write_and_read()


def test_a_temporary_key_is_good_while_it_lasts(server: OdpsServer, tmp_path: Path) -> None:
    server.accounts[ACCESS_ID].token = "sts-token"
    tables = opener_of(server, tmp_path, odps_sts_token="sts-token")()
    assert commit(tables, videos("file:///a"))


def test_missing_variables_are_named() -> None:
    with pytest.raises(SettingsError, match="ODPS_ACCESS_ID, ODPS_ACCESS_KEY, ODPS_PROJECT, ODPS_ENDPOINT"):
        open_handle(Settings())
    with pytest.raises(SettingsError, match="ODPS_PROJECT: is not set"):
        open_handle(
            Settings(odps_access_id="a", odps_access_key="b", odps_endpoint="https://service.cn.maxcompute.com/api")
        )


def test_secrets_are_in_no_repr(server: OdpsServer, tmp_path: Path) -> None:
    settings = Settings(tables="odps", store=str(tmp_path / "store"), **odps_settings(server))
    shown = f"{settings!r} {settings} {open_tables(settings, create=True)!r}"
    assert SECRET not in shown
    assert ACCESS_ID not in shown


def test_a_time_that_maxcompute_cannot_keep_is_told(tables: OdpsTables) -> None:
    from datetime import UTC, datetime

    rows = VIDEO_MANIFEST.rows([{"video_path": "a", "start_time": datetime(2300, 1, 1, tzinfo=UTC)}])
    with pytest.raises(SchemaMismatch, match="start_time"):
        commit(tables, rows)


def test_a_type_that_has_none_is_kept_as_text() -> None:
    from video_assets.table_store.odps_schema import from_wire, odps_type, to_wire
    from video_assets.tables import Column, Table

    kind = pa.map_(pa.string(), pa.int64())
    table = Table("t", "", ("k",), (Column("k", pa.string(), "k"), Column("m", kind, "m")))
    rows = pa.table({"k": ["a", "b"], "m": pa.array([[("x", 1)], None], kind)}, schema=table.schema)
    assert odps_type(kind) == "string"
    assert from_wire(table, to_wire(rows)).equals(rows)

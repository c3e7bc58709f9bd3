"""What doctor says of tables in MaxCompute, healthy and broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from video_assets.doctor.examine import examine
from video_assets.doctor.finding import Finding
from video_assets.settings import Settings
from video_assets.table_store import odps_handle
from video_assets_tests.servers.odps_environment import ACCESS_ID, SECRET, odps_server, odps_settings
from video_assets_tests.servers.odps_server import OdpsServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OdpsServer]:
    monkeypatch.setattr(odps_handle, "RETRY_S", 0.3)
    with odps_server() as server:
        yield server


def found(server: OdpsServer, **changes: Any) -> Finding:
    """The finding, as the command prints it."""
    settings = Settings(tables="odps", video_input_table="video_input", **{**odps_settings(server), **changes})
    (finding,) = (f for f in examine(settings) if f.component == "tables")
    assert SECRET not in f"{finding}"
    assert ACCESS_ID not in f"{finding}"
    return finding


def make(server: OdpsServer, statement: str) -> None:
    from video_assets.table_store.odps_handle import open_handle

    open_handle(Settings(**odps_settings(server))).execute_sql(statement)


def test_healthy_tables_are_ok_and_nothing_is_left(server: OdpsServer) -> None:
    finding = found(server)
    assert (finding.verdict, finding.remedy) == ("ok", "")
    assert finding.text.startswith(f"project fleet at {server.endpoint}: tables can be made, written, read and dropped")
    assert list(server.warehouse.tables()) == []


def test_tables_in_the_store_need_no_server() -> None:
    (finding,) = (f for f in examine(Settings()) if f.component == "tables")
    assert (finding.verdict, finding.text) == ("ok", "Parquet files in the store")


@pytest.mark.parametrize(
    ("changes", "text", "remedy"),
    [
        ({"odps_access_key": "other"}, "the access key is not accepted", "Correct ODPS_ACCESS_ID and ODPS_ACCESS_KEY"),
        ({"odps_project": "elsewhere"}, "there is no project 'elsewhere'", "Correct ODPS_PROJECT"),
        ({"odps_endpoint": "http://127.0.0.1:9/api"}, "cannot be reached", "Look at ODPS_ENDPOINT"),
        ({"odps_tunnel_endpoint": "http://127.0.0.1:9"}, "cannot be reached", "ODPS_TUNNEL_ENDPOINT"),
        ({"odps_project": None}, "is not set", "Set it"),
    ],
    ids=["key", "project", "endpoint", "tunnel", "unset"],
)
def test_what_is_wrong_is_named(server: OdpsServer, changes: dict[str, Any], text: str, remedy: str) -> None:
    finding = found(server, **changes)
    assert finding.verdict == "failed"
    assert text in finding.text
    assert remedy in finding.remedy


@pytest.mark.parametrize("privilege", ["CreateTable", "Update", "Download"])
def test_a_missing_privilege_is_named(server: OdpsServer, privilege: str) -> None:
    server.accounts[ACCESS_ID].denied = {privilege}
    finding = found(server)
    assert finding.verdict == "failed"
    assert f"odps:{privilege}" in finding.text
    assert "Let the account have" in finding.remedy
    assert list(server.warehouse.tables()) == [], "the probe is gone"


@pytest.mark.parametrize(
    ("statement", "verdict", "text", "remedy"),
    [
        ("create view video_input as select 'a' as video_path", "failed", "is a view", "drop video_input"),
        (
            "create table video_input (weather string) partitioned by (ds string, vehicle string)",
            "failed",
            "a column weather",
            "drop video_input",
        ),
        (
            "create table video_input (video_path string) partitioned by (ds string, vehicle string)",
            "warning",
            "keeps rows for ever, and MANIFEST_LIFECYCLE is 30",
            "ALTER TABLE video_input SET LIFECYCLE 30",
        ),
        (
            "create table video_input (video_path string) partitioned by (ds string, vehicle string) lifecycle 7",
            "warning",
            "keeps rows 7 days",
            "ALTER TABLE video_input SET LIFECYCLE 30",
        ),
    ],
    ids=["view", "columns", "no lifecycle", "lifecycle"],
)
def test_tables_that_are_there_are_looked_at(
    server: OdpsServer, statement: str, verdict: str, text: str, remedy: str
) -> None:
    make(server, statement)
    finding = found(server)
    assert finding.verdict == verdict
    assert text in finding.text
    assert remedy in finding.remedy

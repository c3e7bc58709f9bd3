"""The MaxCompute server of the tests answers an unmodified pyodps as the service does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from video_assets_tests.servers.odps_environment import ACCESS_ID, SECRET, odps_server
from video_assets_tests.servers.odps_server import PROJECT, REGION, Fault, OdpsServer

NEW_TYPES = {"odps.sql.type.system.odps2": "true"}
COLUMNS = "b bigint, i int, d double, f float, o boolean, s string, l array<string>, t timestamp_ntz"
AT = datetime(2026, 1, 3, 8, 30, 0, 123_456)
ROWS = [
    [7, -5, -1.25, 2.5, True, "é'\\", ["a", None, ""], AT],
    [-(2**62), 2**31 - 1, 1e300, -0.5, False, "", [], datetime(1969, 12, 31, 23, 59, 59)],
    [None] * 8,
]


@pytest.fixture
def server() -> Iterator[OdpsServer]:
    with odps_server() as server:
        yield server


@pytest.fixture(params=[None, REGION], ids=["V2", "V4"])
def o(server: OdpsServer, request: pytest.FixtureRequest) -> Any:
    from odps import ODPS

    return ODPS(ACCESS_ID, SECRET, PROJECT, server.endpoint, region_name=request.param, overwrite_global=False)


def upload(o: Any, table: str, rows: list[list[Any]], *, by_arrow: bool, **options: Any) -> None:
    from odps.tunnel import TableTunnel

    session = TableTunnel(o).create_upload_session(o.get_table(table), **options)
    if by_arrow:
        with session.open_arrow_writer() as writer:
            kinds = [pa.int64(), pa.int32(), pa.float64(), pa.float32(), pa.bool_(), pa.string()]
            kinds += [pa.list_(pa.string()), pa.timestamp("ns", "UTC")]
            columns = zip(*rows, strict=True)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
            writer.write(pa.table(arrays, names=list("bidfoslt")))
    else:
        import pandas as pd

        with session.open_record_writer() as writer:
            for row in rows:
                writer.write(session.new_record([*row[:7], row[7] and pd.Timestamp(row[7])]))
    session.commit(writer.get_blocks_written())


def plain(values: list[Any]) -> list[Any]:
    return [value.to_pydatetime() if hasattr(value, "to_pydatetime") else value for value in values]


@pytest.mark.parametrize("by_arrow", [True, False], ids=["arrow", "records"])
def test_values_travel_both_ways(o: Any, by_arrow: bool) -> None:
    from odps.tunnel import TableTunnel

    o.create_table("t", (COLUMNS, "ds string"), hints=NEW_TYPES)
    upload(o, "t", ROWS, by_arrow=by_arrow, partition_spec="ds='1'", create_partition=True)
    session = TableTunnel(o).create_download_session(o.get_table("t"), partition_spec="ds='1'")
    with session.open_record_reader(0, session.count) as reader:
        assert [plain(record.values)[:8] for record in reader] == ROWS
    with session.open_arrow_reader(1, 1) as reader:
        assert reader.read().num_rows == 1
    with o.execute_sql("select * from t order by b desc nulls last").open_reader(tunnel=True) as reader:
        assert [plain(record.values) for record in reader] == [[*row, "1"] for row in ROWS]


def test_overwriting_replaces_and_writing_adds(o: Any, server: OdpsServer) -> None:
    o.create_table("t", COLUMNS, hints=NEW_TYPES)
    for overwrite, count in ((False, 3), (False, 6), (True, 3)):
        upload(o, "t", ROWS, by_arrow=True, overwrite=overwrite)
        assert len(server.warehouse.table("t").partition(()).rows) == count


def test_what_is_uploaded_is_invisible_before_the_commit(o: Any, server: OdpsServer) -> None:
    from odps.tunnel import TableTunnel

    o.create_table("t", "b bigint")
    session = TableTunnel(o).create_upload_session(o.get_table("t"))
    with session.open_arrow_writer() as writer:
        writer.write(pa.table({"b": [1]}))
    assert len(server.warehouse.table("t").partition(()).rows) == 0


def test_tables_and_partitions_come_and_go(o: Any) -> None:
    table = o.create_table("t", ("a string", "ds string, vehicle string"), comment="of 'tests'", lifecycle=3)
    table.reload()
    assert (table.comment, table.lifecycle) == ("of 'tests'", 3)
    for vehicle in ("veh-1", "veh-2"):
        table.create_partition(f"ds='1',vehicle='{vehicle}'")
    assert [str(p.partition_spec) for p in table.partitions] == ["ds='1',vehicle='veh-1'", "ds='1',vehicle='veh-2'"]
    assert table.exist_partition("ds='1',vehicle='veh-2'")
    table.delete_partition("ds='1',vehicle='veh-2'")
    assert not table.exist_partition("ds='1',vehicle='veh-2'")
    o.execute_sql("create view v as select a from t")
    assert o.get_table("v").is_virtual_view
    o.delete_table("t")
    assert not o.exist_table("t")


def test_a_failed_statement_says_why(o: Any) -> None:
    from odps.errors import ODPSError

    with pytest.raises(ODPSError, match="Table not found"):
        o.execute_sql("select * from nowhere")
    with pytest.raises(ODPSError, match="type int is not enabled"):
        o.create_table("t", "a int")
    with pytest.raises(ODPSError, match="lifecycle must be"):
        o.execute_sql("create table t (a string) lifecycle 0")


@pytest.mark.parametrize(("key", "secret"), [(ACCESS_ID, "wrong"), ("nobody", SECRET)])
@pytest.mark.parametrize("region", [None, REGION])
def test_a_wrong_signature_is_refused(server: OdpsServer, key: str, secret: str, region: str | None) -> None:
    from odps import ODPS
    from odps.errors import Unauthorized

    o = ODPS(key, secret, PROJECT, server.endpoint, region_name=region, overwrite_global=False)
    with pytest.raises(Unauthorized, match="ODPS-04100"):
        o.exist_table("t")


def test_faults_befall_what_they_name(o: Any, server: OdpsServer) -> None:
    from odps.errors import InternalServerError

    o.create_table("t", "a string")
    server.faults = [Fault("GetTable", status=500)]
    with pytest.raises(InternalServerError):
        o.get_table("t").reload()
    o.get_table("t").reload()

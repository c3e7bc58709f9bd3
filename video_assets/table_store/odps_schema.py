"""Tables of tables.py as tables of MaxCompute: names, types, and what to do where the two differ.

| Arrow | MaxCompute |
|---|---|
| string | STRING |
| int64, int32 | BIGINT, INT |
| float64, float32 | DOUBLE, FLOAT |
| bool | BOOLEAN |
| timestamp[us, UTC] | TIMESTAMP_NTZ, holding UTC: it reads the same in every zone of a project or a machine |
| list | ARRAY |
| anything else | STRING, as JSON |
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from video_assets.keys import Partition
from video_assets.table_store.table_store import SchemaMismatch
from video_assets.tables import Table

NEW_TYPES = {"odps.sql.type.system.odps2": "true"}
"""The setting under which a statement may name INT, FLOAT and TIMESTAMP_NTZ."""

PARTITION_COLUMNS = {
    "date": ("ds", "The fleet's local day, YYYYMMDD."),
    "vehicle": ("vehicle", "The vehicle."),
}
"""Of each column that a table is partitioned by: its name in MaxCompute, and what it is."""

_TYPES = {
    pa.string(): "string",
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.float64(): "double",
    pa.float32(): "float",
    pa.bool_(): "boolean",
}


def odps_type(kind: pa.DataType) -> str:
    """The MaxCompute type that holds an Arrow type."""
    if pa.types.is_timestamp(kind):
        return "timestamp_ntz"
    if pa.types.is_list(kind):
        return f"array<{odps_type(kind.value_type)}>"
    return _TYPES.get(kind, "string")


def partition_spec(partition: Partition) -> str:
    """`ds='20260103',vehicle='veh-7'`. Both are of characters that need no quoting."""
    day = f"ds='{partition.date.replace('-', '')}'"
    return day if partition.vehicle is None else f"{day},vehicle='{partition.vehicle}'"


def partition_of(spec: dict[str, str]) -> Partition:
    """The partition that `ds` and `vehicle` name; raises InvalidId for what is none of ours."""
    day = spec.get("ds", "")
    return Partition(f"{day[:4]}-{day[4:6]}-{day[6:]}", spec.get("vehicle"))


def odps_schema(table: Table) -> Any:
    """The table's columns with their types and comments, and those of its partitions."""
    from odps.models import TableSchema
    from odps.types import Column, Partition

    columns = [Column(column.name, odps_type(column.type), column.description) for column in table.columns]
    parts = [PARTITION_COLUMNS[name] for name in table.partitioned_by]
    return TableSchema(columns=columns, partitions=[Partition(name, "string", comment) for name, comment in parts])


def missing_columns(table: Table, found: Any, table_name: str) -> list[Any]:
    """What a table that is there lacks, to be added.

    Raises:
        SchemaMismatch: it is a view, or its columns are not what can be made ours by adding some.
    """
    remedy = f"Let the settings name another table, or drop {table_name}."
    kind = getattr(found.type, "name", "")
    if found.is_virtual_view or found.is_materialized_view or "VIEW" in kind:
        raise SchemaMismatch(f"ODPS table {table_name}", "is a view, which takes no rows", remedy)
    wanted = odps_schema(table)
    there = {column.name: str(column.type).lower() for column in found.table_schema.simple_columns}
    ours = {column.name: str(column.type).lower() for column in wanted.simple_columns}
    partitions = [column.name for column in found.table_schema.partitions or []]
    expected = [column.name for column in wanted.partitions or []]
    faults = [f"it has a column {name} that is not of {table.name}" for name in there if name not in ours]
    faults += [
        f"column {name} is {there[name]}, not {kind}" for name, kind in ours.items() if there.get(name, kind) != kind
    ]
    if partitions != expected:
        faults.append(f"it is partitioned by {_listed(partitions)}, not {_listed(expected)}")
    if faults:
        raise SchemaMismatch(f"ODPS table {table_name}", "; ".join(faults), remedy)
    return [column for column in wanted.simple_columns if column.name not in there]


def to_wire(rows: pa.Table) -> pa.Table:
    """Rows as the tunnel takes them."""
    for index, field in enumerate(rows.schema):
        if odps_type(field.type) == "string" and not pa.types.is_string(field.type):
            text = [None if value is None else json.dumps(value) for value in rows[field.name].to_pylist()]
            rows = rows.set_column(index, field.name, pa.array(text, pa.string()))
        elif pa.types.is_timestamp(field.type):
            try:
                rows = rows.set_column(index, field.name, rows[field.name].cast(pa.timestamp("ns", "UTC")))
            except pa.ArrowInvalid as error:
                cause = f"a time in {field.name} is beyond what MaxCompute keeps (1677 to 2262): {error}"
                raise SchemaMismatch("rows", cause, "Correct the clock or the path it comes from.") from None
    return rows.replace_schema_metadata(None)


def from_wire(table: Table, rows: pa.Table) -> pa.Table:
    """Rows of the tunnel in the table's types; columns that were added later, and are not there, are null."""
    columns = []
    for field in table.schema:
        if field.name not in rows.column_names:
            columns.append(pa.nulls(len(rows), field.type))
            continue
        column = rows[field.name]
        if odps_type(field.type) == "string" and not pa.types.is_string(field.type):
            values = [_parsed(text, field.type) for text in column.to_pylist()]
            column = pa.chunked_array([pa.array(values, field.type)])
        elif pa.types.is_timestamp(field.type):
            column = column.cast(pa.timestamp("us"), safe=False).cast(field.type)
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=table.schema)


def _parsed(text: str | None, kind: pa.DataType) -> Any:
    value = None if text is None else json.loads(text)
    return [tuple(pair) for pair in value] if pa.types.is_map(kind) and value is not None else value


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "nothing"

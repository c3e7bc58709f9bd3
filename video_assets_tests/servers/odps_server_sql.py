"""MaxCompute SQL as far as tests need it: tables, partitions and views by hand, SELECT by DuckDB."""

from __future__ import annotations

import re
from collections.abc import Mapping

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from video_assets_tests.servers.odps_server_errors import OdpsServerError
from video_assets_tests.servers.odps_server_types import NEW_TYPES, OdpsColumn, OdpsSchema, odps_type
from video_assets_tests.servers.odps_server_warehouse import StoredPartition, StoredTable, Warehouse

_TYPES = {
    "TEXT": "string",
    "BIGINT": "bigint",
    "INT": "int",
    "DOUBLE": "double",
    "FLOAT": "float",
    "BOOLEAN": "boolean",
    "TIMESTAMPNTZ": "timestamp_ntz",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamp",
}


def run_sql(warehouse: Warehouse, text: str, settings: Mapping[str, str], denied: set[str]) -> pa.Table | None:
    """Runs one statement. Returns the rows of a SELECT.

    Raises:
        OdpsServerError: as an instance would fail.
    """
    lifecycle = re.search(r"(?i)\bLIFECYCLE\s+(-?\d+)", text)
    plain = re.sub(r"(?i)\bLIFECYCLE\s+-?\d+", "", text.strip().rstrip(";"))
    try:
        statement = sqlglot.parse_one(plain, read="spark")
    except sqlglot.errors.ParseError as error:
        raise OdpsServerError(400, "ParseError", f"ODPS-0130161:[1,1] Parse exception - {error}") from None
    if isinstance(statement, exp.Create):
        _require("CreateTable", denied)
        days = int(lifecycle[1]) if lifecycle else None
        return _create(warehouse, statement, days, settings)
    if isinstance(statement, exp.Drop):
        _require("Drop", denied)
        return _drop(warehouse, statement)
    if isinstance(statement, exp.Alter):
        _require("Alter", denied)
        return _alter(warehouse, statement, settings)
    if isinstance(statement, exp.TruncateTable):
        _require("Update", denied)
        table = warehouse.table(statement.expressions[0].name)
        for values in table.partitions:
            table.partitions[values] = StoredPartition(table.schema.arrow.empty_table())
        return None
    if isinstance(statement, exp.Query):
        _require("Select", denied)
        return _select(warehouse, statement)
    raise OdpsServerError(400, "ParseError", f"ODPS-0130161:[1,1] Parse exception - {text[:80]!r} is not known here")


def result_schema(rows: pa.Table) -> OdpsSchema:
    """The columns of a SELECT's result."""
    return OdpsSchema(tuple(OdpsColumn(field.name, odps_type(field.type)) for field in rows.schema))


def _require(privilege: str, denied: set[str]) -> None:
    if privilege in denied:
        raise OdpsServerError(
            403, "NoPermission", f"ODPS-0420095: Access Denied - You have NO privilege 'odps:{privilege}'"
        )


def _create(warehouse: Warehouse, statement: exp.Create, lifecycle: int | None, settings: Mapping[str, str]) -> None:
    name = statement.find(exp.Table).name  # type: ignore[union-attr]
    if warehouse.has(name):
        if statement.args.get("exists"):
            return
        raise OdpsServerError(400, "ODPSError", f"ODPS-0140181:Sql task failed - Table already exists - {name}")
    if lifecycle is not None and lifecycle <= 0:
        raise OdpsServerError(
            400, "ODPSError", "ODPS-0130071:[1,1] Semantic analysis exception - lifecycle must be > 0"
        )
    if statement.kind == "VIEW":
        query = statement.expression.sql("spark")
        warehouse.add(StoredTable(name, result_schema(_select(warehouse, statement.expression)), view=query))
        return
    partitioned = statement.find(exp.PartitionedByProperty)
    parts = _columns(partitioned.this.expressions if partitioned else [], settings)
    comment = statement.find(exp.SchemaCommentProperty)
    schema = OdpsSchema(_columns(statement.this.expressions, settings), parts)
    names = [column.name for column in (*schema.columns, *parts)]
    if len(set(names)) < len(names):
        raise OdpsServerError(400, "ODPSError", "ODPS-0130071:[1,1] Semantic analysis exception - column repeated")
    warehouse.add(StoredTable(name, schema, comment.this.name if comment else "", lifecycle))


def _columns(definitions: list[exp.Expression], settings: Mapping[str, str]) -> tuple[OdpsColumn, ...]:
    columns = []
    for definition in definitions:
        kind = _type(definition.args["kind"])
        if kind in NEW_TYPES and str(settings.get("odps.sql.type.system.odps2")).lower() != "true":
            raise OdpsServerError(
                400, "ODPSError", f"ODPS-0130071:[1,1] Semantic analysis exception - type {kind} is not enabled"
            )
        comment = definition.find(exp.CommentColumnConstraint)
        columns.append(OdpsColumn(definition.name.lower(), kind, comment.this.name if comment else ""))
    return tuple(columns)


def _type(kind: exp.DataType) -> str:
    if kind.this.name == "ARRAY":
        return f"array<{_type(kind.expressions[0])}>"
    return _TYPES[kind.this.name]


def _drop(warehouse: Warehouse, statement: exp.Drop) -> None:
    name = statement.find(exp.Table).name  # type: ignore[union-attr]
    if not statement.args.get("exists"):
        warehouse.table(name)
    warehouse.drop(name)


def _alter(warehouse: Warehouse, statement: exp.Alter, settings: Mapping[str, str]) -> None:
    table = warehouse.table(statement.this.name)
    for action in statement.args["actions"]:
        if isinstance(action, exp.Schema | exp.ColumnDef):
            added = _columns(action.expressions if isinstance(action, exp.Schema) else [action], settings)
            known = {column.name for column in table.schema.columns}
            if repeated := known & {column.name for column in added}:
                raise OdpsServerError(400, "ODPSError", f"ODPS-0130071:[1,1] column already exists: {repeated}")
            table.add_column(OdpsSchema((*table.schema.columns, *added), table.schema.partition_columns))
        elif isinstance(action, exp.AddPartition | exp.DropPartition):
            values = tuple(eq.expression.name for eq in action.find_all(exp.EQ))
            if isinstance(action, exp.DropPartition):
                table.partitions.pop(values, None)
            else:
                table.partitions.setdefault(values, StoredPartition(table.schema.arrow.empty_table()))
        else:
            raise OdpsServerError(400, "ParseError", f"ODPS-0130161: {action.sql()!r} is not known here")


def _select(warehouse: Warehouse, query: exp.Expression) -> pa.Table:
    query = query.copy()
    with duckdb.connect() as connection:
        for reference in query.find_all(exp.Table):
            table = warehouse.table(reference.name)
            rows = _select(warehouse, sqlglot.parse_one(table.view, read="spark")) if table.view else table.all_rows()
            connection.register(reference.name, rows)
            reference.set("db", None)
        try:
            return connection.sql(query.sql("duckdb")).to_arrow_table()
        except duckdb.Error as error:
            raise OdpsServerError(
                400, "ODPSError", f"ODPS-0130071:[1,1] Semantic analysis exception - {error}"
            ) from None

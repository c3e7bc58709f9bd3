"""MaxCompute's column types as Arrow's, and the schema as the service words it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pyarrow as pa

_ARROW = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("ns"),
    "timestamp_ntz": pa.timestamp("ns"),
}

NEW_TYPES = frozenset({"int", "float", "timestamp", "timestamp_ntz"})
"""Which a table may only have where odps.sql.type.system.odps2 is true."""


def arrow_type(odps_type: str) -> pa.DataType:
    """Raises KeyError for a type that this server does not have."""
    array = re.fullmatch(r"array<(.+)>", odps_type)
    return pa.list_(arrow_type(array[1])) if array else _ARROW[odps_type]


def odps_type(kind: pa.DataType) -> str:
    """The type of a column of a SELECT's result."""
    if pa.types.is_list(kind):
        return f"array<{odps_type(kind.value_type)}>"
    if pa.types.is_timestamp(kind):
        return "timestamp_ntz"
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return "int" if pa.types.is_int32(kind) else "bigint"
    names = {kind: name for name, kind in _ARROW.items() if not name.startswith("timestamp")}
    return names.get(kind, "string")


@dataclass(frozen=True)
class OdpsColumn:
    """One column."""

    name: str
    type: str
    comment: str = ""

    def described(self) -> dict[str, object]:
        """As schemas say it."""
        return {"name": self.name, "type": self.type, "comment": self.comment, "isNullable": True}


@dataclass(frozen=True)
class OdpsSchema:
    """A table's columns, and those that it is partitioned by."""

    columns: tuple[OdpsColumn, ...]
    partition_columns: tuple[OdpsColumn, ...] = field(default=())

    @property
    def arrow(self) -> pa.Schema:
        """The columns without those of the partition, as they travel."""
        return pa.schema([(column.name, arrow_type(column.type)) for column in self.columns])

    def described(self) -> dict[str, object]:
        """As both the service and the tunnel say it."""
        return {
            "columns": [column.described() for column in self.columns],
            "partitionKeys": [column.described() for column in self.partition_columns],
        }

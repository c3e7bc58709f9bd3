"""The catalogue's tables and indexes, made where they are missing."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from video_assets.sources.catalogue.database import CatalogueError, Database, run

if TYPE_CHECKING:
    from video_assets.sources.catalogue.database import Connection

_LOCK = 0x76_69_64_65_6F
"""Of two migrations at a time one waits."""

_COLUMNS = (
    "SELECT attname AS name FROM pg_attribute WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 "
    "AND NOT attisdropped"
)


def migrate(database: Database) -> list[str]:
    """Makes what is missing, all or nothing, and gives the names of the steps. A table that is there stays as it is.

    Raises:
        CatalogueError: the table is there and lacks columns, or the right to make something is missing.
    """
    steps = sorted((step for step in files(__package__).joinpath("migrations").iterdir()), key=lambda step: step.name)
    missing: list[str] = []

    def work(connection: Connection) -> None:
        names = database.names
        run(connection, names, "SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": _LOCK})
        run(connection, names, steps[0].read_text())
        there = {str(row["name"]) for row in run(connection, names, _COLUMNS, {"table": _quoted(names.table)})}
        missing[:] = [theirs for _, theirs in names.columns if theirs not in there]
        if not missing:
            for step in steps[1:]:
                run(connection, names, step.read_text())

    database.transaction(work)
    if missing:
        raise CatalogueError(
            f"table {database.names.table}",
            f"has no column {', '.join(missing)}",
            "Name the columns by VIDEO_ASSETS_CATALOGUE_COLUMNS, or add them.",
        )
    return [step.name for step in steps]


def _quoted(table: str) -> str:
    return ".".join(f'"{part}"' for part in table.split("."))

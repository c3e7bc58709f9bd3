"""A checkpoint in a file of SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import RLock

from video_assets.uploads.checkpoint import Values
from video_assets.uploads.errors import CheckpointAway

_TABLE = "CREATE TABLE IF NOT EXISTS checkpoint (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


class SqliteValues(Values):
    """Texts by name in a SQLite file, which is made if missing; its folder is not: it may be an unmounted disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._guard = RLock()

    def get(self, name: str) -> str | None:
        with self._open() as connection:
            row = connection.execute("SELECT value FROM checkpoint WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, name: str, text: str) -> None:
        with self._open() as connection:
            connection.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", (name, text))

    def delete(self, names: list[str]) -> None:
        with self._open() as connection:
            connection.executemany("DELETE FROM checkpoint WHERE name = ?", [(name,) for name in names])

    def below(self, prefix: str) -> Iterator[tuple[str, str]]:
        with self._open() as connection:
            # Prefixes end with a line break, and the character after it bounds what begins with one.
            end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
            asked = "SELECT name, value FROM checkpoint WHERE name >= ? AND name < ?"
            rows = connection.execute(asked, (prefix, end)).fetchall()
        return iter(rows)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The connection, in a transaction of its own. A file that failed is opened anew the next time."""
        with self._guard:
            try:
                # A file that was taken away is still open, and would be written to for nobody.
                if self._connection is None or not self._path.exists():
                    self._connection = self._connect()
                with self._connection as connection:
                    yield connection
            except sqlite3.Error as error:
                self._connection = None
                remedy = "Mount its disk, free space on it, or give this user the permission."
                raise CheckpointAway(f"the checkpoint {self._path}", f"cannot be used: {error}", remedy) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(_TABLE)
        return connection

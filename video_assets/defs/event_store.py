"""Writing many events to Dagster's own SQLite storage without opening its files anew for each."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool


@contextmanager
def kept_open(instance: dg.DagsterInstance) -> Iterator[None]:
    """Within the block, the event databases of this process stay open between two events.

    Dagster opens a database for each statement or two and closes it again, and SQLite folds the log into the file
    whenever the last one closes it: half of a small partition's time. What is written is as durable as before,
    and others read and write meanwhile, since no transaction is open between two events. Other storages (Postgres)
    keep their connections themselves: nothing is done there.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        yield
        return
    shards = _Shards(storage)
    # Of this object alone, and only while the block lasts.
    storage.__dict__.update(_connect=shards.connect, has_table=cache(storage.has_table))
    try:
        yield
    finally:
        del storage.__dict__["_connect"], storage.__dict__["has_table"]
        shards.close()


class _Shards:
    """The databases of a storage, one a run and the index over all, each opened when it is first asked for."""

    def __init__(self, storage: SqliteEventLogStorage) -> None:
        self._lock: threading.Lock = storage._db_lock
        self._storage = storage
        self._engines: dict[str, Engine] = {}
        self._is_over = False

    @contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        """As the storage's own: one caller at a time, in a transaction."""
        with self._lock:
            try:
                if shard not in self._engines:
                    self._engines[shard] = self._open(shard)
                with self._engines[shard].begin() as connection:
                    before = _changes(connection)
                    yield connection
                    has_written = _changes(connection) > before
                if has_written:
                    # The web server shows a run's events when this file changes, and what is open changes its log only.
                    with suppress(FileNotFoundError):  # All runs were wiped meanwhile.
                        os.utime(self._storage.path_for_shard(shard))
            finally:
                if self._is_over:
                    self._dispose()

    def close(self) -> None:
        """Closes the databases now, or as soon as one that is in use is not.

        It waits for nobody. Where a run is cancelled between two events, the garbage collector ends what Dagster left
        suspended, perhaps in the midst of this thread's own `connect`.
        """
        self._is_over = True
        if self._lock.acquire(blocking=False):
            try:
                self._dispose()
            finally:
                self._lock.release()

    def _dispose(self) -> None:
        for engine in self._engines.values():
            engine.dispose()

    def _open(self, shard: str) -> Engine:
        engine = create_engine(
            self._storage.conn_string_for_shard(shard),
            poolclass=StaticPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        if shard not in self._storage._initialized_dbs:
            self._storage._initdb(engine)
            self._storage._initialized_dbs.add(shard)
        return engine


def _changes(connection: Connection) -> int:
    """How many rows were written by the connection so far."""
    return int(connection.connection.total_changes)

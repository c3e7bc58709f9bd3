"""Writing many events to Dagster's own SQLite storage without opening its files anew for each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    with ExitStack() as files:
        shards = _Shards(storage, files)
        # Of this object alone, and only while the block lasts.
        storage.__dict__.update(_connect=shards.connect, has_table=cache(storage.has_table))
        try:
            yield
        finally:
            with shards.lock:
                del storage.__dict__["_connect"], storage.__dict__["has_table"]


class _Shards:
    """The databases of a storage, one a run and the index over all, each opened when it is first asked for."""

    def __init__(self, storage: SqliteEventLogStorage, files: ExitStack) -> None:
        self.lock: threading.Lock = storage._db_lock
        self._storage, self._files = storage, files
        self._engines: dict[str, Engine] = {}

    @contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        """As the storage's own: one caller at a time, in a transaction."""
        with self.lock:
            if shard not in self._engines:
                self._engines[shard] = self._open(shard)
            with self._engines[shard].begin() as connection:
                yield connection

    def _open(self, shard: str) -> Engine:
        engine = create_engine(
            self._storage.conn_string_for_shard(shard),
            poolclass=StaticPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        self._files.callback(engine.dispose)
        if shard not in self._storage._initialized_dbs:
            self._storage._initdb(engine)
            self._storage._initialized_dbs.add(shard)
        return engine

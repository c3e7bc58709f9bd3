"""A collection's shard: opened when it is this thread's turn, and kept open for as long as nobody waits for it.

Opening costs 0.1 to 1 s, most of what a small partition takes. So a session of several calls opens once, and gives
its turn up between two calls only where another process or thread has asked for one, and not sooner than it has paid;
however long the next call is in coming, a thread beside it sees to that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from video_assets.vectors.engine_errors import engine_errors
from video_assets.vectors.index_errors import IndexCorruptError
from video_assets.vectors.shard_lock import busy_error, hold_collection, others_wait

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard

_OPEN_POLL_S = 0.02
_IDLE_POLL_S = 0.1
"""How soon a session that does nothing notices that others wait."""
_IDLE_S = 5.0
"""How long it keeps the shard open for nothing: programs that do not know of the locks cannot open it meanwhile."""

KEPT_S = 0.5
"""A session keeps its turn for so long, whoever waits. Several writers that gave way after each call would open the
shard for each call, and do little else."""


class ShardTurns:
    """Turns at the shards `<directory>/<collection>/shard`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._locks = directory / ".locks"
        self._sessions = _Sessions()

    @contextmanager
    def turn(self, collection: str, wait_s: float) -> Iterator[Turn]:
        """The collection to itself for the duration of the block, its shard not opened yet or still open.

        Args:
            collection: whose.
            wait_s: how long to wait for the turn; in a session, the longest of its calls so far.

        Raises:
            IndexBusyError: not within that time.
            IndexUnwritableError, IndexCorruptError: also for what the engine raises in the block.
        """
        session = self._sessions.of.get(collection)
        turn = session or Turn(self._directory / collection / "shard", self._locks, collection)
        with turn.in_use:
            try:
                turn.take(wait_s)
                with engine_errors(turn.path):
                    yield turn
            except BaseException:
                turn.end()
                raise
            if session is None:
                turn.end()
            else:
                turn.end_if_wanted()
                turn.used_at = time.monotonic()

    @contextmanager
    def session(self, collection: str) -> Iterator[None]:
        """Within the block, this thread's turns at the collection go on from one call to the next."""
        if collection in self._sessions.of:
            yield
            return
        turn = Turn(self._directory / collection / "shard", self._locks, collection)
        self._sessions.of[collection] = turn
        over = threading.Event()
        idle = threading.Thread(target=_give_way, args=(turn, over), name=f"index {collection}", daemon=True)
        idle.start()
        try:
            yield
        finally:
            over.set()
            idle.join()
            del self._sessions.of[collection]
            turn.end()


def _give_way(turn: Turn, over: threading.Event) -> None:
    """Ends a session's turn between two calls as soon as others wait, or none comes; until the session is over."""
    while not over.wait(_IDLE_POLL_S):
        if turn.in_use.acquire(blocking=False):
            try:
                if time.monotonic() - turn.used_at > _IDLE_S:
                    turn.end()
                else:
                    turn.end_if_wanted()
            finally:
                turn.in_use.release()


class _Sessions(threading.local):
    """Collection → the turn that is kept between calls, of one thread."""

    def __init__(self) -> None:
        self.of: dict[str, Turn] = {}


class Turn:
    """The right to use a collection's files, and its shard once it is open.

    `in_use` is held during a call, and by whoever ends the turn between two; `used_at` is when the last call ended.
    """

    def __init__(self, path: Path, locks: Path, collection: str) -> None:
        self.path = path
        self.in_use = threading.RLock()
        self.used_at = time.monotonic()
        self._locks, self._collection = locks, collection
        self._held: ExitStack | None = None
        self._shard: EdgeShard | None = None
        self._wait_s = self._deadline = self._taken_at = 0.0

    def take(self, wait_s: float) -> None:
        """Waits for the turn unless it is held; for the longest that any of its calls was given, since what a writer
        reads is part of its writing.
        """
        self._wait_s = max(self._wait_s, wait_s)
        self._deadline = time.monotonic() + self._wait_s
        if self._held is None:
            with ExitStack() as held:
                held.enter_context(hold_collection(self._locks, self._collection, self._wait_s))
                self._held = held.pop_all()
            self._taken_at = time.monotonic()

    @property
    def is_paid(self) -> bool:
        """Whether it was held for long enough to be worth its opening."""
        return time.monotonic() - self._taken_at >= KEPT_S

    @property
    def shard(self) -> EdgeShard:
        """The open shard, which was loaded now if it was not."""
        if self._shard is None:
            self._shard = self._load()
        return self._shard

    @shard.setter
    def shard(self, made: EdgeShard) -> None:
        self._shard = made

    def end_if_wanted(self) -> None:
        """Ends the turn where others wait for it, and it has paid."""
        if self._held is not None and self.is_paid and others_wait(self._locks, self._collection):
            self.end()

    def end(self) -> None:
        """Closes the shard and lets others go on. What was not flushed is in the engine's write-ahead log."""
        shard, held = self._shard, self._held
        self._shard = self._held = None
        with ExitStack() as closing:
            if held is not None:
                closing.push(held)
            if shard is not None:
                shard.close()

    def _load(self) -> EdgeShard:
        from qdrant_edge import EdgeShard

        while True:
            try:
                with engine_errors(self.path):
                    return EdgeShard.load(str(self.path))
            except IndexCorruptError as error:
                # Open in a process that does not know of the locks: a notebook, say.
                if "WouldBlock" not in error.cause:
                    raise
                if time.monotonic() >= self._deadline:
                    raise busy_error(self._collection, self._wait_s) from error
            time.sleep(_OPEN_POLL_S)

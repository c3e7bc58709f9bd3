"""Which records a process has in hand, and what is written of them when it is done.

A claim is a row of `extraction_attempts` with a worker and a lease by the database's clock. Rows are found with
`FOR UPDATE SKIP LOCKED`, so that processes which claim at once do not wait for each other; the lease is written by
an upsert that looks at the row as it is then, so that none is taken twice even if the search saw an older state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from video_assets.sources.catalogue.database import Database, run
from video_assets.sources.catalogue.records import SELECTED, Record

if TYPE_CHECKING:
    from video_assets.sources.catalogue.database import Connection

LONGEST_WAIT_S = 86_400.0
"""A failed record's longest wait for its next attempt."""

_TAKE_TRIES = 5
"""Another may claim all that was found, between search and upsert, while there is more."""

_FREE = "(a.leased_until IS NULL OR a.leased_until < now())"

_DUE = "(a.attempts < %(max_attempts)s AND (a.next_attempt_at IS NULL OR a.next_attempt_at <= now()))"

_WANTED = (
    "FROM {content} AS c LEFT JOIN {attempts} AS a ON a.record_id = c.{id} WHERE c.{is_embedded} IS NOT TRUE "
    f"AND (a.record_id IS NULL OR ({_FREE} AND ({_DUE} OR a.content_updated_at IS DISTINCT FROM c.{{updated_at}})))"
)
"""What is left and free: never tried, tried and due again, or changed by others since."""

_NEWEST_FIRST = "ORDER BY c.{publish_date} DESC NULLS LAST, c.{id} DESC"

_PEEK = f"SELECT {SELECTED} {_WANTED} {_NEWEST_FIRST} LIMIT %(limit)s"

_TAKE = f"""
WITH wanted AS (
    SELECT c.{{id}} AS id, c.{{updated_at}} AS updated_at {_WANTED}
    {_NEWEST_FIRST} LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED
), taken AS (
    INSERT INTO {{attempts}} AS a (record_id, worker, leased_until, content_updated_at)
    SELECT id, %(worker)s, now() + %(lease_s)s * interval '1 second', updated_at FROM wanted
    ON CONFLICT (record_id) DO UPDATE SET
        worker = excluded.worker,
        leased_until = excluded.leased_until,
        next_attempt_at = NULL,
        attempts = CASE
            WHEN a.content_updated_at IS DISTINCT FROM excluded.content_updated_at THEN 0 ELSE a.attempts
        END,
        content_updated_at = excluded.content_updated_at
    WHERE {_FREE} AND ({_DUE} OR a.content_updated_at IS DISTINCT FROM excluded.content_updated_at)
    RETURNING a.record_id
)
SELECT {SELECTED} FROM {{content}} AS c JOIN taken ON taken.record_id = c.{{id}} {_NEWEST_FIRST}
"""  # noqa: S608

_RENEW = (
    "UPDATE {attempts} SET leased_until = now() + %(lease_s)s * interval '1 second' "
    "WHERE worker = %(worker)s AND record_id = ANY(%(ids)s) RETURNING record_id"
)
_RELEASE = (
    "UPDATE {attempts} SET worker = NULL, leased_until = NULL WHERE worker = %(worker)s AND record_id = ANY(%(ids)s)"
)
# Content before attempts, by id, as claims lock them: two that meet wait, and do not deadlock.
_LOCK_CONTENT = "SELECT {id} FROM {content} WHERE {id} = ANY(%(ids)s) ORDER BY {id} FOR UPDATE"
_HELD = (
    "SELECT a.record_id AS id, a.content_updated_at IS DISTINCT FROM c.{updated_at} AS changed "
    "FROM {attempts} AS a JOIN {content} AS c ON c.{id} = a.record_id "
    "WHERE a.record_id = ANY(%(ids)s) AND {whose} ORDER BY a.record_id FOR UPDATE OF a"
)
_ENTER = (
    "INSERT INTO {attempts} (record_id, content_updated_at) SELECT {id}, {updated_at} FROM {content} "
    "WHERE {id} = ANY(%(ids)s) ON CONFLICT (record_id) DO NOTHING"
)
_FLAGS = (
    "UPDATE {content} SET {is_downloaded} = %(downloaded)s, {is_extracted} = %(extracted)s, "
    "{is_embedded} = %(embedded)s, {updated_at} = now() WHERE {id} = %(id)s AND "
    "({is_downloaded}, {is_extracted}, {is_embedded}) IS DISTINCT FROM (%(downloaded)s, %(extracted)s, %(embedded)s)"
)
_END = (
    "UPDATE {attempts} SET worker = NULL, leased_until = NULL, error_stage = %(stage)s, error_msg = %(message)s, "
    "failed_at = CASE WHEN %(failed)s THEN clock_timestamp() ELSE failed_at END, "
    "done_at = CASE WHEN %(embedded)s THEN coalesce(done_at, now()) END, "
    "attempts = CASE WHEN %(embedded)s THEN 0 WHEN %(failed)s THEN attempts + 1 ELSE attempts END, "
    "next_attempt_at = CASE WHEN %(embedded)s THEN NULL WHEN %(final)s THEN 'infinity' "
    "WHEN %(wait_s)s::float8 IS NOT NULL THEN now() + %(wait_s)s::float8 * interval '1 second' "
    "ELSE now() + least(%(retry_s)s * 2.0 ^ least(attempts, 30), %(longest_s)s) * interval '1 second' END, "
    # What others changed meanwhile is not taken for seen.
    "content_updated_at = CASE WHEN %(changed)s THEN content_updated_at "
    "ELSE (SELECT {updated_at} FROM {content} WHERE {id} = %(id)s) END "
    "WHERE record_id = %(id)s"
)


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a record.

    Attributes:
        record_id: its id.
        flags: downloaded, extracted, embedded: whether that output is there.
        kind: `done`, `failed`, or `waiting` for what is no failure: an upload that settles.
        stage, message: why it is not done; None where it is.
        retryable: whether a failed one may go well another time with the same bytes.
        wait_s: for how long one that waits is left alone.
    """

    record_id: int
    flags: tuple[bool, bool, bool]
    kind: Literal["done", "failed", "waiting"]
    stage: str | None = None
    message: str | None = None
    retryable: bool = True
    wait_s: float | None = None


@dataclass(frozen=True)
class Claims:
    """The claims of one worker. `retry_s` is a failed record's first wait, which doubles with each attempt."""

    database: Database
    worker: str
    lease_s: float
    max_attempts: int
    retry_s: float

    def peek(self, limit: int) -> list[Record]:
        """What `take` would give, without taking it."""
        values = {"limit": limit, "max_attempts": self.max_attempts}
        return [Record.of(row) for row in self.database.execute(_PEEK, values)]

    def take(self, limit: int) -> list[Record]:
        """Claims up to so many of what is left, newest first. None is another's at the same time."""
        values = {"limit": limit, "max_attempts": self.max_attempts, "worker": self.worker, "lease_s": self.lease_s}
        for _ in range(_TAKE_TRIES):
            taken = [Record.of(row) for row in self.database.execute(_TAKE, values)]
            if taken or not self.peek(1):
                break
        return taken

    def renew(self, ids: Iterable[int]) -> set[int]:
        """Holds records for another lease; gives those that are still this worker's."""
        values = {"worker": self.worker, "ids": list(ids), "lease_s": self.lease_s}
        return {int(row["record_id"]) for row in self.database.execute(_RENEW, values)}

    def release(self, ids: Iterable[int]) -> None:
        """Gives records back untried."""
        self.database.execute(_RELEASE, {"worker": self.worker, "ids": list(ids)})

    def end(self, endings: Sequence[Ending]) -> set[int]:
        """Writes flags and attempts in one transaction; gives the ids of those that were still this worker's.

        What another worker has taken over meanwhile is that one's to write.
        """
        return self._end(endings, "a.worker = %(worker)s")

    def _end(self, endings: Sequence[Ending], whose: str) -> set[int]:
        by_id = {ending.record_id: ending for ending in endings}
        ids = {"ids": sorted(by_id), "worker": self.worker}

        def work(connection: Connection) -> set[int]:
            names = self.database.names
            run(connection, names, _LOCK_CONTENT, ids)
            run(connection, names, _ENTER, ids)
            held = run(connection, names, _HELD.replace("{whose}", whose), ids)
            changed = {int(row["id"]): bool(row["changed"]) for row in held}
            values = [self._values(by_id[number], changed[number]) for number in changed]
            with connection.cursor() as cursor:
                cursor.executemany(names.compose(_FLAGS), values)
                cursor.executemany(names.compose(_END), values)
            return set(changed)

        return self.database.transaction(work)

    def confirm(self, endings: Sequence[Ending]) -> set[int]:
        """Like `end`, for records that no worker has in hand: what something other than a claim has made of them."""
        return self._end(endings, _FREE)

    def _values(self, ending: Ending, changed: bool) -> dict[str, Any]:
        downloaded, extracted, embedded = ending.flags
        return {
            "id": ending.record_id,
            "downloaded": downloaded,
            "extracted": extracted,
            "embedded": embedded,
            "failed": ending.kind == "failed",
            "final": ending.kind == "failed" and not ending.retryable,
            "stage": ending.stage,
            "message": ending.message,
            "wait_s": ending.wait_s,
            "retry_s": self.retry_s,
            "longest_s": LONGEST_WAIT_S,
            "changed": changed,
        }

"""Records that came or changed since a cursor, for a sensor: none is missed, however late its transaction commits.

Pages go by `(updated_at, id)`. A row that was written before others and committed after them lies behind the page
already; it is found by its transaction, which the snapshot of the look before did not see.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from video_assets.errors import VideoAssetsError
from video_assets.sources.catalogue.database import Database
from video_assets.sources.catalogue.records import SELECTED, Record

_NOW = "SELECT pg_current_snapshot()::text AS snapshot"

# A row's transaction as 64 bits: the newest whose low 32 bits are its xmin.
_TRANSACTION = "(n.next - mod(mod(n.next - c.xmin::text::bigint, 4294967296) + 4294967296, 4294967296))::text::xid8"

_LEFT = """
FROM {content} AS c LEFT JOIN {attempts} AS a ON a.record_id = c.{id},
    (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) AS n
WHERE c.{is_embedded} IS NOT TRUE AND (a.leased_until IS NULL OR a.leased_until < now())
"""
_CHANGED = f"""
SELECT {SELECTED}, c.{{updated_at}}::timestamptz::text AS at {_LEFT}
AND (a.record_id IS NULL OR a.content_updated_at IS DISTINCT FROM c.{{updated_at}})
AND c.{{updated_at}} > %(after)s::timestamptz - interval '1 day' AND (
    (c.{{updated_at}}, c.{{id}}) > (%(after)s::timestamptz, %(after_id)s)
    OR NOT pg_visible_in_snapshot({_TRANSACTION}, %(snapshot)s::pg_snapshot)
)
ORDER BY c.{{updated_at}}, c.{{id}} LIMIT %(limit)s
"""  # noqa: S608
_DUE = f"""
SELECT {SELECTED}, a.next_attempt_at::text AS at {_LEFT}
AND a.attempts < %(max_attempts)s AND a.next_attempt_at <= now()
AND (a.next_attempt_at, c.{{id}}) > (%(due_after)s::timestamptz, %(due_after_id)s)
ORDER BY a.next_attempt_at, c.{{id}} LIMIT %(limit)s
"""
_BEFORE_ALL = -(2**63)


class CursorUnreadable(VideoAssetsError):
    """A cursor that is none of ours."""


@dataclass(frozen=True, slots=True)
class NewsCursor:
    """Up to where changed rows were read, which transactions were seen then, and up to where those that are due."""

    after: str = "-infinity"
    after_id: int = _BEFORE_ALL
    snapshot: str = ""
    due_after: str = "-infinity"
    due_after_id: int = _BEFORE_ALL

    @classmethod
    def parse(cls, text: str | None) -> NewsCursor:
        """What `dump` wrote; the beginning where there is none. Raises CursorUnreadable."""
        if not text:
            return cls()
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            raise CursorUnreadable("the cursor", "is none of this sensor's", "Clear it in the UI.") from None

    def dump(self) -> str:
        """The cursor as text."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record with news, and since when: the time of its change, or of its next attempt, as the database writes it."""

    record: Record
    at: str


class News:
    """The news since a cursor, up to `limit` records that changed and as many that are due again.

    Use: iterate, and stop where enough was taken; then `cursor` is where the next look begins.
    """

    def __init__(self, database: Database, before: NewsCursor, limit: int, max_attempts: int) -> None:
        self._before, self._limit = before, limit
        # Read before the rows: what commits between the two is read now, and once more.
        self._snapshot = str(database.execute(_NOW)[0]["snapshot"])
        values: dict[str, Any] = {**asdict(before), "limit": limit, "max_attempts": max_attempts}
        values["snapshot"] = before.snapshot or self._snapshot
        self._changed = database.execute(_CHANGED, values)
        self._due = database.execute(_DUE, values)
        self._taken = 0

    def __iter__(self) -> Iterator[NewRecord]:
        for row in (*self._changed, *self._due):
            self._taken += 1
            yield NewRecord(Record.of(row), row["at"])

    def leave(self) -> None:
        """The record given last is not taken: it will be news again."""
        self._taken -= 1

    @property
    def cursor(self) -> NewsCursor:
        """Where to go on."""
        changed, due = self._changed[: self._taken], self._due[: max(0, self._taken - len(self._changed))]
        last = (changed[-1]["at"], int(changed[-1]["id"])) if changed else None
        before = (self._before.after, self._before.after_id)
        is_whole = len(changed) == len(self._changed) < self._limit
        if last is None or (is_whole and not _is_later(last, before)):
            # Nothing, or only what was committed late.
            last = before
        # Rows that were late come first in a page: where it ends among them, what follows comes once more.
        snapshot = self._snapshot if changed or not self._changed else self._before.snapshot
        last_due = (due[-1]["at"], int(due[-1]["id"])) if due else (self._before.due_after, self._before.due_after_id)
        return NewsCursor(last[0], last[1], snapshot, last_due[0], last_due[1])


def _is_later(one: tuple[str, int], other: tuple[str, int]) -> bool:
    if other[0] == "-infinity":
        return True
    return (datetime.fromisoformat(one[0]), one[1]) > (datetime.fromisoformat(other[0]), other[1])

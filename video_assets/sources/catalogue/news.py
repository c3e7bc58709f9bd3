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

_NOW = "SELECT pg_current_snapshot()::text AS snapshot, now()::text AS at"

# A row's transaction as 64 bits: the newest whose low 32 bits are its xmin.
_TRANSACTION = "(n.next - mod(mod(n.next - c.xmin::text::bigint, 4294967296) + 4294967296, 4294967296))::text::xid8"
_NEWS = f"""
SELECT {SELECTED}, c.{{updated_at}}::timestamptz::text AS updated_at
FROM {{content}} AS c LEFT JOIN {{attempts}} AS a ON a.record_id = c.{{id}},
    (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) AS n
WHERE c.{{is_embedded}} IS NOT TRUE AND (a.leased_until IS NULL OR a.leased_until < now()) AND (
    (
        (a.record_id IS NULL OR a.content_updated_at IS DISTINCT FROM c.{{updated_at}}) AND (
            (c.{{updated_at}}, c.{{id}}) > (%(after)s::timestamptz, %(after_id)s) OR (
                c.{{updated_at}} > %(after)s::timestamptz - interval '1 day'
                AND NOT pg_visible_in_snapshot({_TRANSACTION}, %(snapshot)s::pg_snapshot)
            )
        )
    ) OR (
        a.attempts < %(max_attempts)s AND a.next_attempt_at > %(at)s::timestamptz AND a.next_attempt_at <= now()
    )
)
ORDER BY c.{{updated_at}}, c.{{id}} LIMIT %(limit)s
"""  # noqa: S608


class CursorUnreadable(VideoAssetsError):
    """A cursor that is none of ours."""


@dataclass(frozen=True, slots=True)
class NewsCursor:
    """Up to where rows were read, what transactions were seen then, and when that was."""

    after: str = "-infinity"
    after_id: int = -(2**63)
    snapshot: str = "1:1:"
    at: str = "-infinity"

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
    """A record with news, and the time of its change as the database writes it."""

    record: Record
    updated_at: str


class News:
    """The news since a cursor, up to `limit` records; those that are `taken` count.

    Use: iterate, and stop where enough was taken; then `cursor` is where the next look begins.
    """

    def __init__(self, database: Database, before: NewsCursor, limit: int, max_attempts: int) -> None:
        self._before, self._limit = before, limit
        now = database.execute(_NOW)[0]
        values: dict[str, Any] = {**asdict(before), "limit": limit, "max_attempts": max_attempts}
        self._rows = database.execute(_NEWS, values)
        # Read before the rows: what commits between the two is read now, and once more.
        self._whole = NewsCursor(before.after, before.after_id, now["snapshot"], now["at"])
        self._taken: dict[str, Any] | None = None
        self._ended = False

    def __iter__(self) -> Iterator[NewRecord]:
        for row in self._rows:
            self._taken = row
            yield NewRecord(Record.of(row), row["updated_at"])
        self._ended = len(self._rows) < self._limit

    def leave(self, row: NewRecord) -> None:
        """The record given last is not taken: it will be news again."""
        at = next(i for i, one in enumerate(self._rows) if one["id"] == row.record.id)
        self._taken = self._rows[at - 1] if at else None

    @property
    def cursor(self) -> NewsCursor:
        """Where to go on. Cut short, it still has what was late or due: it comes twice rather than never."""
        if self._taken is None:
            return self._whole if self._ended else self._before
        position = (datetime.fromisoformat(self._taken["updated_at"]), int(self._taken["id"]))
        is_further = self._before.after == "-infinity" or position > self._position_before
        after, after_id = self._taken["updated_at"], position[1]
        if self._ended:
            whole = self._whole
            return NewsCursor(after, after_id, whole.snapshot, whole.at) if is_further else whole
        seen = self._before if is_further else self._whole
        return NewsCursor(after, after_id, seen.snapshot, seen.at)

    @property
    def _position_before(self) -> tuple[datetime, int]:
        return datetime.fromisoformat(self._before.after), self._before.after_id

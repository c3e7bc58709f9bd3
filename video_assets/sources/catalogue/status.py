"""How far a catalogue is: totals by state, the rate, the oldest that waits, the latest failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime

from video_assets.sources.catalogue.database import Database

STATES = ("done", "in_hand", "waiting", "failed", "given_up")
"""`waiting`: to be taken now, or an upload that settles; `failed`: waits for its next attempt."""

SHOWN_FAILURES = 10

_STATE = (
    "CASE WHEN c.{is_embedded} THEN 'done' WHEN a.leased_until >= now() THEN 'in_hand' "
    "WHEN a.record_id IS NULL OR a.error_stage IS NULL OR a.error_stage = 'settling' "
    "OR a.content_updated_at IS DISTINCT FROM c.{updated_at} THEN 'waiting' "
    "WHEN a.attempts >= %(max_attempts)s OR a.next_attempt_at = 'infinity' THEN 'given_up' ELSE 'failed' END"
)
_JOINED = "FROM {content} AS c LEFT JOIN {attempts} AS a ON a.record_id = c.{id}"
_TOTALS = (
    f"SELECT {_STATE} AS state, count(*) AS records, count(*) FILTER (WHERE c.{{is_downloaded}}) AS downloaded, "
    "count(*) FILTER (WHERE c.{is_extracted}) AS extracted, min(a.next_attempt_at) FILTER "
    f"(WHERE a.next_attempt_at > now() AND a.next_attempt_at < 'infinity') AS next_at {_JOINED} GROUP BY 1"
)
_OLDEST = (
    f"SELECT c.{{code}} AS code, c.{{publish_date}} AS publish_date, c.{{created_at}} AS created_at {_JOINED} "
    f"WHERE c.{{is_embedded}} IS NOT TRUE AND {_STATE} = 'waiting' "
    "ORDER BY c.{publish_date} NULLS FIRST, c.{id} LIMIT 1"
)
_RATE = "SELECT count(*) AS done FROM {attempts} WHERE done_at > now() - interval '1 hour'"
_FAILURES = (
    "SELECT c.{code} AS code, a.error_stage AS stage, a.error_msg AS message, a.attempts AS attempts, "
    f"a.failed_at AS failed_at, nullif(a.next_attempt_at, 'infinity') AS next_at {_JOINED} "
    "WHERE a.error_stage IS NOT NULL AND a.failed_at IS NOT NULL ORDER BY a.failed_at DESC LIMIT %(limit)s"
)


@dataclass(frozen=True, slots=True)
class RecordFailure:
    """A record that is not done, and why. `next_at` is when it is tried again; None if not."""

    code: str
    stage: str
    message: str
    attempts: int
    failed_at: datetime
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class OldestWaiting:
    """The record that would be taken last."""

    code: str
    publish_date: Date | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class CatalogueStatus:
    """Counts of all records. `states` has those of STATES; `per_hour` is what was done in the last hour."""

    records: int
    downloaded: int
    extracted: int
    states: dict[str, int]
    per_hour: int
    next_at: datetime | None
    oldest: OldestWaiting | None
    failures: list[RecordFailure]


def catalogue_status(database: Database, max_attempts: int) -> CatalogueStatus:
    """Reads the whole table once for the totals."""
    values = {"max_attempts": max_attempts, "limit": SHOWN_FAILURES}
    totals = database.execute(_TOTALS, values)
    oldest = database.execute(_OLDEST, values)
    due = [row["next_at"] for row in totals if row["next_at"] is not None]
    return CatalogueStatus(
        records=sum(row["records"] for row in totals),
        downloaded=sum(row["downloaded"] for row in totals),
        extracted=sum(row["extracted"] for row in totals),
        states=dict.fromkeys(STATES, 0) | {row["state"]: row["records"] for row in totals},
        per_hour=database.execute(_RATE)[0]["done"],
        next_at=min(due, default=None),
        oldest=OldestWaiting(**oldest[0]) if oldest else None,
        failures=[RecordFailure(**row) for row in database.execute(_FAILURES, values)],
    )

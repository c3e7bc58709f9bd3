"""One request to a bucket, tried once and for a few seconds: how it is reached, with which credentials, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from video_assets.errors import VideoAssetsError

PROBE_TIMEOUT_S = 4.0
"""For the connection, and again for the answer."""


@dataclass(frozen=True, slots=True)
class CredentialFacts:
    """Which credentials are in use, without what is secret of them.

    Attributes:
        kind: in words: `the access key AKIA…MPLE of the environment`.
        expires_at: when they end, in UTC; None where they don't, or nobody says.
        is_temporary: whether they end at some time.
        is_renewed: whether others are fetched before they end.
    """

    kind: str
    expires_at: datetime | None = None
    is_temporary: bool = False
    is_renewed: bool = False


@dataclass(frozen=True, slots=True)
class BucketProbe:
    """What one request for one page of a listing, of one key, has told.

    Attributes:
        uri: the bucket's.
        endpoint: where the request went, as a URL.
        region: what it was signed for.
        clock_ahead: how far this machine's clock is ahead of the server's, good to a second; None where the server
            did not answer.
        fault: why the listing failed; None where it is allowed.
    """

    uri: str
    endpoint: str
    region: str
    credentials: CredentialFacts
    clock_ahead: timedelta | None
    fault: VideoAssetsError | None


@dataclass
class AnswerDate:
    """The header `Date` of an answer, held against this machine's clock."""

    asked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ahead: timedelta | None = None

    def note(self, date: str | None) -> None:
        """Takes the header, as soon as it is there; one that is no date is passed over."""
        try:
            said = parsedate_to_datetime(date or "")
        except ValueError:
            return
        middle = self.asked_at + (datetime.now(UTC) - self.asked_at) / 2
        # The header has whole seconds, cut off.
        self.ahead = middle - (said.replace(tzinfo=said.tzinfo or UTC) + timedelta(seconds=0.5))


def masked(key_id: str) -> str:
    """Enough of an access key id to know it again: `AKIA…MPLE`."""
    return f"{key_id[:4]}…{key_id[-4:]}" if len(key_id) >= 12 else f"{key_id[:2]}…"

"""Checks of the way to a bucket: reach, rights, credentials, clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from video_assets.doctor.finding import Finding, Verdict
from video_assets.storage.bucket_probe import BucketProbe, CredentialFacts
from video_assets.storage.registry import probe_bucket

MAX_SKEW = timedelta(minutes=1)
"""Clocks further apart are told of; S3 and OSS refuse requests at 15 minutes."""

SOON = timedelta(hours=1)
"""Keys that end earlier, and that nobody renews, are told of: a run may outlast them."""


def bucket_finding(component: str, uri: str | None) -> Finding | None:
    """Whether the bucket that a URI names can be listed, by one request that takes a few seconds at most.

    None where the URI names no bucket. Nothing is written.
    """
    probe = probe_bucket(uri) if uri else None
    if probe is None:
        return None
    way = f"{probe.endpoint}, region {probe.region}, with {probe.credentials.kind}"
    way = "; ".join(filter(None, (way, _end(probe.credentials), _clock(probe))))
    if probe.fault is not None:
        text = f"{probe.fault.item}: {probe.fault.cause}; asked at {way}"
        return Finding(component, "failed", text, probe.fault.remedy)
    verdict, remedy = _advice(probe)
    return Finding(component, verdict, f"{probe.uri} can be listed at {way}", remedy)


def _clock(probe: BucketProbe) -> str:
    """How far the clocks are apart; nothing where no answer came."""
    if probe.clock_ahead is None:
        return ""
    apart = abs(probe.clock_ahead)
    if apart < timedelta(seconds=2):
        return "the clocks agree"
    behind = "ahead of" if probe.clock_ahead > timedelta() else "behind"
    return f"this machine's clock is {_span(apart)} {behind} the server's"


def _end(credentials: CredentialFacts) -> str:
    """When the credentials end."""
    if credentials.is_renewed:
        return "it is temporary and renewed by itself"
    if not credentials.is_temporary:
        return ""
    if credentials.expires_at is None:
        return "it is temporary, and nobody says when it ends"
    left = credentials.expires_at - datetime.now(UTC)
    ends = f"{credentials.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"it is temporary, and ended at {ends}"
        if left <= timedelta()
        else f"it is temporary, and ends at {ends}, in {_span(left)}"
    )


def _advice(probe: BucketProbe) -> tuple[Verdict, str]:
    if probe.clock_ahead is not None and abs(probe.clock_ahead) > MAX_SKEW:
        return "warning", "Set the clock (NTP): requests are refused once it is 15 minutes off."
    credentials = probe.credentials
    if credentials.expires_at and not credentials.is_renewed and credentials.expires_at - datetime.now(UTC) < SOON:
        return "warning", "Renew the credentials, or use a role: a run that outlasts them stops."
    return "ok", ""


def _span(time: timedelta) -> str:
    """`40 s`, `12 min`, `3 h 5 min`."""
    seconds = round(time.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"

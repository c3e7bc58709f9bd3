"""Requests to one bucket, with its faults; credentials that expired are looked up anew, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from video_assets.storage.s3_clients import S3Clients, connect
from video_assets.storage.s3_errors import EXPIRED, S3Fault, is_absent, is_condition, is_other_region, s3_faults
from video_assets.storage.s3_listing import list_page

Answer = TypeVar("Answer")

_SEEN_S = 60.0
"""How long a bucket that was seen is taken to be there."""


def ask(bucket: str, request: Callable[[S3Clients], Answer]) -> Answer:
    """The answer to a request.

    Raises:
        S3Fault: what S3 says, with its code where it has one.
        StoreUnavailable: no credentials or no region.
    """
    try:
        return _ask_once(bucket, request)
    except S3Fault as fault:
        # A refusal of HEAD has no body that could say "expired".
        if fault.code not in EXPIRED and (fault.code or fault.status != 400):
            raise
    # A file or the environment may hold new ones by now; a fresh session reads both.
    connect.cache_clear()
    return _ask_once(bucket, request)


def _ask_once(bucket: str, request: Callable[[S3Clients], Answer]) -> Answer:
    try:
        with s3_faults():
            return request(connect(bucket))
    except S3Fault as fault:
        raise _explained(bucket, fault) from None


def call(bucket: str, method: str, **arguments: Any) -> Any:
    """The answer to boto3's method of this name; faults as for `ask`."""
    return ask(bucket, lambda clients: getattr(clients.boto, method)(**arguments))


def _explained(bucket: str, fault: S3Fault) -> S3Fault:
    """The fault, with a code or region where it has none: the bucket is asked once more, by a GET of boto3.

    Answers to HEAD have no body that says what is wrong, and obstore does not tell the region it was sent to.

    Raises:
        StoreUnavailable: the bucket is in another region.
    """
    is_elsewhere = is_other_region(fault) and not fault.region
    is_silent = not fault.code and fault.status in (400, 403, 404) and not is_condition(fault)
    if not is_elsewhere and not is_silent:
        return fault
    if is_absent(fault) and _was_seen(bucket, int(time.monotonic() / _SEEN_S)):
        return fault
    try:
        with s3_faults():
            list_page(bucket, "", "", "", "", connect(bucket), max_keys=1)
    except S3Fault as other:
        # Who may not list may still read: a refusal to list says nothing about an object.
        return fault if other.code in ("AccessDenied", "") else other
    return fault


@lru_cache(maxsize=64)
def _was_seen(bucket: str, period: int) -> bool:
    """Whether the bucket is there, or may be; asked once in each period."""
    try:
        with s3_faults():
            list_page(bucket, "", "", "", "", connect(bucket), max_keys=1)
    except S3Fault as fault:
        return fault.code == "AccessDenied"
    return True

"""Signatures of MaxCompute, versions 2 and 4, verified."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, unquote, urlsplit

from video_assets_tests.servers.odps_server_errors import OdpsServerError

MAX_SKEW = timedelta(minutes=15)


@dataclass
class Account:
    """An access key. `token` is that of STS, if it is a temporary one; `expired` ones are refused."""

    secret: str
    token: str | None = None
    expired: bool = False
    denied: set[str] = field(default_factory=set)
    """Privileges that this account lacks: CreateTable, Describe, Download, Update, Drop, Select."""


@dataclass(frozen=True)
class SignedRequest:
    """What a signature covers. `target` is the path and query after the endpoint; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]


def check_signature(request: SignedRequest, accounts: Mapping[str, Account], region: str) -> Account:
    """The account that signed.

    Raises:
        OdpsServerError: as the service refuses.
    """
    match = re.fullmatch(
        r"ODPS ([^/:]+)(?:/(\d{8})/([^/]+)/odps/aliyun_v4_request)?:(\S+)", request.headers.get("authorization", "")
    )
    if match is None:
        raise OdpsServerError(401, "AuthorizationRequired", "ODPS-0410031:Authentication failed - no valid signature")
    key_id, day, signed_region, signature = match.groups()
    account = accounts.get(key_id)
    if account is None:
        raise OdpsServerError(
            401, "Unauthorized", "ODPS-0410051:Invalid credentials - accessKeyId not found, accessId: " + key_id
        )
    _check_date(request.headers.get("date", ""))
    if day is not None and signed_region != region:
        raise OdpsServerError(401, "Unauthorized", f"ODPS-0410042:Invalid signature value - region is {region}")
    key = account.secret.encode() if day is None else _v4_key(account.secret, day, signed_region)
    expected = base64.b64encode(hmac.new(key, canonical(request).encode(), hashlib.sha1).digest()).decode()
    if not hmac.compare_digest(expected, signature):
        raise OdpsServerError(
            401, "Unauthorized", "ODPS-0410042:Invalid signature value - User signature does not match"
        )
    if account.token is not None and request.headers.get("authorization-sts-token") != account.token:
        raise OdpsServerError(401, "Unauthorized", "ODPS-0410051:Invalid credentials - security token does not match")
    if account.expired:
        raise OdpsServerError(403, "Unauthorized", "ODPS-0410051:Invalid credentials - the security token has expired")
    return account


def canonical(request: SignedRequest) -> str:
    """What is signed: method, content headers, date, `x-odps-` headers and parameters, path with sorted query."""
    # The client signs the query as it reads once it is unquoted, whatever that does to a `+` or a `&` in a value.
    parts = urlsplit(unquote(request.target), allow_fragments=False)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    signed = {"content-md5": "", "content-type": "", "date": ""}
    signed |= {n: v for n, v in request.headers.items() if n in signed or n.startswith("x-odps-")}
    signed |= {n: v for n, v in query.items() if n.startswith("x-odps-")}
    lines = [f"{n}:{signed[n]}" if n.startswith("x-odps-") else signed[n] for n in sorted(signed)]
    resource = parts.path
    if query:
        resource += "?" + "&".join(f"{n}={v}" if v else n for n, v in sorted(query.items()))
    return "\n".join([request.method, *lines, resource])


def _v4_key(secret: str, day: str, region: str) -> bytes:
    key = f"aliyun_v4{secret}".encode()
    for part in (day, region, "odps", "aliyun_v4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _check_date(text: str) -> None:
    try:
        skew = abs(datetime.now(UTC) - parsedate_to_datetime(text))
    except ValueError:
        raise OdpsServerError(400, "InvalidParameter", "ODPS-0410041:Invalid date format") from None
    if skew > MAX_SKEW:
        raise OdpsServerError(
            403, "RequestTimeTooSkewed", "The difference between request and server time is too large"
        )

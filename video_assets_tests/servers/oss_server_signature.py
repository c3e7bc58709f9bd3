"""Signature version 4 of Alibaba OSS, checked as the service does: in the header or in a presigned URL."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qsl, quote, unquote

from video_assets_tests.servers.oss_server_errors import OssError

ALGORITHM = "OSS4-HMAC-SHA256"
MAX_SKEW = timedelta(minutes=15)


@dataclass(frozen=True)
class Account:
    """One pair of keys. With a `token` it is a temporary one, good until `expires_at` (aware; None: for ever)."""

    secret: str
    token: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class SignedRequest:
    """What a signature covers. `query` is as sent; header names are in lower case."""

    method: str
    bucket: str | None
    key: str | None
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class _Claim:
    """What a request says of its own signature."""

    access_key_id: str
    date: str
    region: str
    product: str
    signed_at: str
    additional_headers: list[str]
    token: str | None
    signature: str
    expires_s: int | None


def check_signature(request: SignedRequest, accounts: Mapping[str, Account], region: str, now: datetime) -> str:
    """The access key id that signed the request.

    Raises:
        OssError: as OSS answers an unsigned, wrong, old or expired signature.
    """
    claim = _claim(request)
    account = accounts.get(claim.access_key_id)
    if account is None:
        raise OssError(403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records.")
    if claim.product != "oss":
        raise OssError(400, "InvalidArgument", "Invalid signing product in Authorization header.", "0002-00000227")
    if claim.region != region:
        raise OssError(400, "InvalidArgument", "Invalid signing region in Authorization header.", "0002-00000226")
    if not claim.signed_at.startswith(claim.date):
        raise OssError(400, "InvalidArgument", "Invalid signing date in Authorization header.", "0002-00000225")
    _check_time(claim, now)
    _check_token(claim, account, now)
    canonical = _canonical_request(request, claim)
    scope = f"{claim.date}/{claim.region}/{claim.product}/aliyun_v4_request"
    to_sign = f"{ALGORITHM}\n{claim.signed_at}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    if not hmac.compare_digest(_sign(account.secret, claim, to_sign), claim.signature):
        message = "The request signature we calculated does not match the signature you provided."
        said = {"CanonicalRequest": canonical, "StringToSign": to_sign, "SignatureProvided": claim.signature}
        raise OssError(403, "SignatureDoesNotMatch", message, "0002-00000201", said)
    return claim.access_key_id


def _claim(request: SignedRequest) -> _Claim:
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    if "x-oss-signature-version" in query:
        try:
            return _Claim(
                *query["x-oss-credential"].split("/")[:4],
                signed_at=query["x-oss-date"],
                additional_headers=[h for h in query.get("x-oss-additional-headers", "").split(";") if h],
                token=query.get("x-oss-security-token"),
                signature=query["x-oss-signature"],
                expires_s=int(query["x-oss-expires"]),
            )
        except (KeyError, TypeError, ValueError):
            raise OssError(400, "InvalidArgument", "The presigned URL is malformed.") from None
    algorithm, _, fields = request.headers.get("authorization", "").partition(" ")
    if algorithm != ALGORITHM:
        raise OssError(403, "AccessDenied", "Anonymous access is forbidden for this operation.", "0003-00000001")
    said = dict(field.strip().partition("=")[::2] for field in fields.split(","))
    try:
        return _Claim(
            *said["Credential"].split("/")[:4],
            signed_at=request.headers["x-oss-date"],
            additional_headers=[h for h in said.get("AdditionalHeaders", "").split(";") if h],
            token=request.headers.get("x-oss-security-token"),
            signature=said["Signature"],
            expires_s=None,
        )
    except (KeyError, TypeError):
        raise OssError(400, "InvalidArgument", "The Authorization header is malformed.") from None


def _check_time(claim: _Claim, now: datetime) -> None:
    signed_at = datetime.strptime(claim.signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if claim.expires_s is None:
        if abs(now - signed_at) > MAX_SKEW:
            message = "The difference between the request time and the current time is too large."
            raise OssError(403, "RequestTimeTooSkewed", message, "0002-00000504")
    elif now > signed_at + timedelta(seconds=claim.expires_s):
        raise OssError(403, "AccessDenied", "Request has expired.", "0002-00000069")


def _check_token(claim: _Claim, account: Account, now: datetime) -> None:
    if claim.token != account.token:
        raise OssError(403, "InvalidSecurityToken", "The security token you provided is invalid.")
    if account.expires_at is not None and now > account.expires_at:
        raise OssError(403, "SecurityTokenExpired", "The security token you provided has expired.", "0002-00000902")


def _canonical_request(request: SignedRequest, claim: _Claim) -> str:
    path = "/" + (f"{request.bucket}/" if request.bucket else "") + (request.key or "")
    pairs = [pair.partition("=")[::2] for pair in request.query.split("&") if pair]
    query = "&".join(
        f"{name}={value}" if value else name for name, value in sorted(pairs) if unquote(name) != "x-oss-signature"
    )
    signed = {
        name: value.strip()
        for name, value in request.headers.items()
        if name.startswith("x-oss-") or name in ("content-type", "content-md5") or name in claim.additional_headers
    }
    headers = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    additional = ";".join(sorted(claim.additional_headers))
    payload = request.headers.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD")
    return f"{request.method}\n{quote(path, safe='/')}\n{query}\n{headers}\n{additional}\n{payload}"


def _sign(secret: str, claim: _Claim, to_sign: str) -> str:
    key = f"aliyun_v4{secret}".encode()
    for part in (claim.date, claim.region, claim.product, "aliyun_v4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()

"""What alibabacloud-oss-v2 raises, as the errors of a store. No answer's body gets into one: it may echo a token."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from video_assets.errors import VideoAssetsError, raise_alone
from video_assets.storage.object_store import (
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ObjectUnreadable,
    StoreError,
    StoreUnavailable,
)
from video_assets.storage.oss_uri import OssPlace

TOKEN_CODES = frozenset({"SecurityTokenExpired", "InvalidSecurityToken"})
"""What OSS says of a temporary key that has ended."""


@contextlib.contextmanager
def store_errors(place: OssPlace, item: str) -> Iterator[None]:
    """Turns the SDK's errors into typed ones for the URI `item`."""
    from alibabacloud_oss_v2.exceptions import BaseError

    try:
        yield
    except BaseError as error:
        # Without the SDK's own error: where it cannot read an answer, it quotes it.
        raise_alone(typed(error, place, item))


def cause_of(error: Any) -> Any:
    """The error below the SDK's wrappers."""
    while hasattr(error, "unwrap") and isinstance(error.unwrap(), Exception):
        error = error.unwrap()
    return error


def code_of(error: Any) -> str:
    """The error code that OSS gave, or an empty string."""
    return getattr(cause_of(error), "code", "") or ""


def typed(error: Any, place: OssPlace, item: str) -> VideoAssetsError:
    """The store's error for one of the SDK's."""
    from alibabacloud_oss_v2 import exceptions

    cause = cause_of(error)
    if isinstance(cause, VideoAssetsError):
        return cause
    if isinstance(cause, exceptions.CredentialsFetchError):
        inner = cause.kwargs.get("error")
        return inner if isinstance(inner, VideoAssetsError) else StoreUnavailable(item, "no credentials were found")
    if isinstance(cause, exceptions.ServiceError):
        return _of_answer(cause, place, item)
    if isinstance(cause, exceptions.InconsistentError):
        return StoreUnavailable(item, "arrived damaged each time (CRC64 differs)", "Mend the network and rerun.")
    return unreachable(place, cause)


def unreachable(place: OssPlace, cause: Exception) -> StoreUnavailable:
    """For an endpoint that does not answer."""
    endpoint, other = place.endpoint, place.endpoint.other_door
    if endpoint.is_internal:
        where, public = endpoint.region or "its region", other or "the public one"
        remedy = f"Only machines in {where} of Alibaba Cloud reach an internal endpoint; elsewhere use {public}."
    elif other:
        remedy = f"Check the network and proxy. A machine in Alibaba Cloud without internet reaches {other}."
    else:
        remedy = "Check the endpoint's name, the network and the proxy."
    return StoreUnavailable(place.bucket_uri, f"the endpoint cannot be reached ({_kind(cause)})", remedy)


def _kind(error: BaseException) -> str:
    """The innermost reason in a word: the texts of the network's errors repeat whole URLs."""
    while (inner := error.__cause__ or error.__context__ or _argument(error)) is not None:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__


def _argument(error: BaseException) -> BaseException | None:
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    return inner if isinstance(inner, BaseException) else None


def _of_answer(error: Any, place: OssPlace, item: str) -> StoreError:
    """The error for an answer of OSS; its code says what, its status does where an answer has no code."""
    code, status = error.code or "", error.status_code
    said = f"{code} {status}, request {error.request_id}{', ' + error.ec if error.ec else ''}"
    match code:
        case "NoSuchKey":
            return ObjectNotFound(item, "does not exist", "List the store again.")
        case "NoSuchUpload":
            return ObjectNotFound(item, f"has no such upload under way ({said})", "Start another upload.")
        case "PreconditionFailed":
            return ObjectChanged(item, "is another version than the one asked for", "List the source again and rerun.")
        case "FileAlreadyExists":
            return ObjectExists(item, "exists already")
        case "NoSuchBucket":
            cause = f"there is no bucket '{place.bucket}' at {place.endpoint.name} ({said})"
            return StoreUnavailable(place.bucket_uri, cause, "Correct the bucket's name, or its endpoint.")
        case "InvalidObjectState":
            cause = f"is archived and has to be restored first ({said})"
            return ObjectUnreadable(item, cause, "Restore it (RestoreObject), wait, and rerun.")
        case "AccessDenied" if "specified endpoint" in error.message:
            right = (error.error_fileds or {}).get("Endpoint") or "its own"
            cause = f"the bucket lies in another region, at the endpoint {right} ({said})"
            return StoreUnavailable(place.bucket_uri, cause, f"Write oss://{right}/{place.bucket}/….")
        case "AccessDenied" if "object acl" in error.message.lower():
            return ObjectUnreadable(
                item, f"its own ACL forbids it ({said})", "Let the object inherit its bucket's ACL."
            )
        case "InvalidArgument" if "signing region" in error.message:
            cause = f"requests are signed for another region than that of {place.endpoint.name} ({said})"
            return StoreUnavailable(
                place.bucket_uri, cause, "Set OSS_REGION to the bucket's region, as in cn-hangzhou."
            )
    if status == 404:
        return ObjectNotFound(item, f"does not exist ({said})", "List the store again.")
    return _of_access(code, said, error, place, item)


def _of_access(code: str, said: str, error: Any, place: OssPlace, item: str) -> StoreUnavailable:
    """Answers about who asks, and about the service itself."""
    where = place.bucket_uri
    match code:
        case "AccessDenied":
            action = f"oss:{_action(error)}"
            remedy = f"Give the RAM user or role the permission {action} on the bucket '{place.bucket}'."
            return StoreUnavailable(where, f"{action} is not allowed for {item}: {error.message} ({said})", remedy)
        case "InvalidAccessKeyId":
            return StoreUnavailable(where, f"OSS knows no such access key id ({said})", "Correct OSS_ACCESS_KEY_ID.")
        case "SignatureDoesNotMatch":
            remedy = "Correct OSS_ACCESS_KEY_SECRET."
            return StoreUnavailable(where, f"the secret does not belong to the access key id ({said})", remedy)
        case "SecurityTokenExpired" | "InvalidSecurityToken":
            cause = f"the session token has expired or is not valid ({said})"
            return StoreUnavailable(where, cause, "Renew OSS_SESSION_TOKEN and both keys, and run again.")
        case "RequestTimeTooSkewed":
            cause = f"this machine's clock is more than 15 minutes off that of OSS ({said})"
            return StoreUnavailable(where, cause, "Set the clock by NTP.")
    if error.status_code >= 500 or error.status_code == 429:
        cause = f"OSS was not available at any of several tries ({said})"
        return StoreUnavailable(item, cause, "Wait and run again: what is done is kept.")
    return StoreUnavailable(item, f"OSS refused: {error.message} ({said})", "See the code in the documentation of OSS.")


def _action(error: Any) -> str:
    """The permission that a refused request needs."""
    method, _, url = (error.request_target or "").partition(" ")
    if "list-type=2" in url:
        return "ListObjects"
    return {"GET": "GetObject", "HEAD": "GetObject", "DELETE": "DeleteObject"}.get(method, "PutObject")

"""What S3 says, as typed errors that say what to do about it.

boto3 and obstore word the same answer differently; both are read down to its status and S3's own code. Nothing else
of an answer is passed on: its body may hold access keys and the string that was signed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from video_assets.storage.object_store import (
    ObjectNotFound,
    ObjectUnreadable,
    StoreError,
    StoreUnavailable,
)

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "InvalidToken"})
_REGION = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
_BUSY = frozenset({"SlowDown", "ServiceUnavailable", "TooManyRequests", "Throttling", "RequestLimitExceeded"})

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")


class S3Fault(Exception):
    """An answer of S3 or the lack of one: HTTP status (0: no answer), S3's code and the bucket's region, where told."""

    def __init__(self, status: int, code: str, kind: str = "", region: str = "") -> None:
        super().__init__(status, code, kind, region)
        self.region = region
        self.status = status
        self.code = code
        self.kind = kind

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.status or ""), self.code, self.kind) if part)


@contextlib.contextmanager
def s3_faults() -> Iterator[None]:
    """Turns the errors of boto3 and obstore into `S3Fault`; others pass."""
    from botocore.exceptions import BotoCoreError, ClientError
    from obstore.exceptions import BaseError

    try:
        yield
    except ClientError as error:
        answer, details = error.response.get("ResponseMetadata", {}), error.response.get("Error", {})
        code = str(details.get("Code", ""))
        region = str(answer.get("HTTPHeaders", {}).get("x-amz-bucket-region", details.get("Region", "")))
        raise S3Fault(int(answer.get("HTTPStatusCode", 0)), "" if code.isdigit() else code, region=region) from None
    except BotoCoreError as error:
        raise S3Fault(0, "", type(error).__name__) from None
    except (BaseError, OSError) as error:  # obstore raises FileNotFoundError for 404
        text = str(error)
        status, said = _STATUS.search(text), _CODE.search(text)
        # obstore's words for 301, which it cannot follow.
        names = {"FileNotFoundError": 404, "GenericError": 301 if "redirect without LOCATION" in text else 0}
        number = int(status[1]) if status else names.get(type(error).__name__, 0)
        raise S3Fault(number, said[1] if said else "", type(error).__name__) from None


def is_absent(fault: S3Fault) -> bool:
    """Whether the answer says that there is no such object (or, where it has no code, no such bucket)."""
    return fault.code in ("NoSuchKey", "NotFound") or (fault.status == 404 and not fault.code)


def is_condition(fault: S3Fault) -> bool:
    """Whether a condition did not hold, or another conditional write of the key was under way."""
    return fault.status == 412 or fault.code in ("PreconditionFailed", "ConditionalRequestConflict")


def is_other_region(fault: S3Fault) -> bool:
    """Whether the bucket is not where it was asked for."""
    return fault.code in _REGION or fault.status == 301


def object_error(fault: S3Fault, item: str, store: str, action: str) -> StoreError:
    """The error for a read (`s3:GetObject`) of one object."""
    if is_absent(fault):
        return ObjectNotFound(item, "does not exist", "List the store again.")
    if fault.code == "AccessDenied" or (fault.status == 403 and not fault.code):
        return ObjectUnreadable(
            item, "is not permitted to these credentials", f"Allow {action} (and kms:Decrypt where it is encrypted)."
        )
    if fault.code == "InvalidObjectState":
        return ObjectUnreadable(item, "lies in an archive (Glacier)", "Restore it, then rerun.")
    return store_error(fault, store, action)


def store_error(fault: S3Fault, store: str, action: str) -> StoreUnavailable:
    """The error where nothing is known about any object."""
    cause, remedy = _cause(fault, action)
    return StoreUnavailable(store, cause, remedy)


def wrong_region(store: str, region: str, configured: str) -> StoreUnavailable:
    """The error for a bucket that lies in another region than the one requests are signed for."""
    return StoreUnavailable(store, f"lies in the region {region}, not {configured}", f"Set AWS_REGION={region}.")


def _cause(fault: S3Fault, action: str) -> tuple[str, str]:
    code, status = fault.code, fault.status
    if code == "NoSuchBucket" or is_absent(fault):
        return "there is no such bucket", "Correct the bucket's name, AWS_ENDPOINT_URL_S3 or AWS_PROFILE, or make it."
    if code in EXPIRED:
        return (
            "the credentials have expired",
            "Renew them (`aws sso login`, or a new session token) and rerun; a role or profile renews by itself.",
        )
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure", "UnrecognizedClientException"):
        return f"refuses the credentials ({code})", "Correct AWS_PROFILE, or the access key and its secret."
    if fault.kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"):
        return (
            f"no credentials were found ({fault.kind})",
            "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run under a role.",
        )
    if is_other_region(fault):
        region = f"the region {fault.region}, not the one that is set" if fault.region else "another region"
        return (
            f"lies in {region}",
            f"Set AWS_REGION={fault.region}." if fault.region else "Set AWS_REGION to the bucket's own.",
        )
    if code == "RequestTimeTooSkewed":
        return "this machine's clock is wrong", "Set the clock (NTP) and rerun."
    if code in _BUSY or status in (429, 503):
        return f"is overloaded ({status} {code})", "Rerun later, or with a smaller VIDEO_ASSETS_WORKERS."
    if code in ("AccessDenied", "AllAccessDisabled", "AccountProblem") or status == 403:
        return "is not permitted to these credentials", f"Allow {action} on the bucket, or use other credentials."
    if status == 0:
        return (
            f"cannot be reached, or stopped answering ({fault.kind})",
            "Look at the network, AWS_ENDPOINT_URL_S3 and AWS_REGION.",
        )
    return f"answered {fault}", "Rerun; if it stays, look at the bucket's settings."

"""What S3 says the bytes of an object add up to.

Every object put since the end of 2024 has a CRC64NVME, or the checksum that its writer asked for: those over the whole
object are used here. The etag of an object put in one piece, and not encrypted with a key of KMS or the customer's, is
its MD5, which takes ten times the CPU of a CRC: it is used where there is nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from video_assets.storage.crc import Crc
from video_assets.storage.s3_bucket import call
from video_assets.storage.s3_errors import S3Fault

NOT_KNOWN = (400, 501)
"""What a store may say that does not know a checksum."""

_MD5 = re.compile(r"[0-9a-f]{32}")


def is_md5(etag: str) -> bool:
    """Whether an etag looks like an MD5."""
    return bool(_MD5.fullmatch(etag))


def head_with_checksum(ask: Callable[..., Any], **asked: Any) -> dict[str, Any]:
    """S3's answer to HEAD, with the checksum that it has; without from a store that refuses to be asked for one.

    Args:
        ask: the answer to the boto3 method of this name; raises `S3Fault`.
        asked: which object.
    """
    try:
        answer: dict[str, Any] = ask("head_object", **asked, ChecksumMode="ENABLED")
    except S3Fault as fault:
        # Backblaze B2 refuses the header with 400. Any other reason for it comes again.
        if fault.status not in NOT_KNOWN:
            raise
        answer = ask("head_object", **asked)
    return answer


def is_encrypted_with_key(head: dict[str, Any]) -> bool:
    """Whether, by S3's answer to HEAD, a key of KMS or the customer encrypts an object: then its etag is no MD5."""
    return head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head


class Expected:
    """What an object's bytes must add up to, and the digest that is fed with them."""

    def __init__(self, name: str, digest: Any, wanted: bytes) -> None:
        self.name = name
        self.digest = digest
        self._wanted = wanted

    @property
    def is_met(self) -> bool:
        """Whether the bytes fed so far are the object's."""
        found: bytes = self.digest.digest()
        return found == self._wanted


def md5_of(etag: str) -> Expected:
    """What an etag that is an MD5 says."""
    return Expected("MD5", hashlib.md5(usedforsecurity=False), bytes.fromhex(etag))


def ask_expected(bucket: str, key: str, etag: str) -> Expected | None:
    """Asks S3 what the version `etag` adds up to; None where it does not say.

    Raises:
        S3Fault: what S3 says; status 412 where there is another version.
    """
    head = head_with_checksum(partial(call, bucket), Bucket=bucket, Key=key, IfMatch=f'"{etag}"')
    if head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
        for name, digest in _DIGESTS.items():
            value = head.get(f"Checksum{name}", "")
            # A checksum of the parts' checksums ends with their number.
            if value and "-" not in value:
                return Expected(name, digest(), base64.b64decode(value))
    return md5_of(etag) if is_md5(etag) and not is_encrypted_with_key(head) else None


_DIGESTS: dict[str, Callable[[], Any]] = {
    "CRC64NVME": lambda: Crc("CRC64-NVME"),
    "CRC32C": lambda: Crc("CRC32C"),
    "CRC32": lambda: Crc("CRC32"),
    "SHA256": hashlib.sha256,
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
}
"""From the cheapest."""

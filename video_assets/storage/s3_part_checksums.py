"""Checksums of the parts of an object of S3: what S3 is told with a part, and what it tells of parts and objects.

`crc64nvme:` is S3's own CRC64NVME, in base64 as S3 writes it: the service holds each part against it, lists it, and
makes that of the whole object from those of the parts. `md5:` is for a store that does not know it, which tells the MD5
of a part as its etag, and the MD5 of the parts' MD5s, with their number, as that of the object; not where it encrypts
with a key of KMS or of the customer.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from video_assets.storage.crc import Crc, joined
from video_assets.storage.part_uploads import Part, UploadedPart, kind_of
from video_assets.storage.s3_checksums import is_encrypted_with_key, is_md5

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CRC64NVME = "crc64nvme"
MD5 = "md5"
CRC_HEADER = "x-amz-checksum-crc64nvme"

_CRC_BYTES = 8


def part_checksum(data: ReadableBuffer, kind: str) -> str:
    """The checksum of a part: its MD5 if that is the kind, else its CRC64NVME."""
    if kind == MD5:
        return f"{MD5}:{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
    crc = Crc("CRC64-NVME")
    crc.update(data)
    return f"{CRC64NVME}:{_base64(crc.digest())}"


def said_with_part(checksum: str) -> dict[str, str]:
    """What boto3's `upload_part` is told, so that S3 holds the part against its checksum."""
    kind, _, value = checksum.partition(":")
    if kind == MD5:
        return {"ContentMD5": _base64(bytes.fromhex(value))}
    return {"ChecksumAlgorithm": "CRC64NVME", "ChecksumCRC64NVME": value}


def said_at_end(part: UploadedPart) -> dict[str, Any]:
    """What boto3's `complete_multipart_upload` is told of a part."""
    kind, _, value = part.checksum.partition(":")
    crc = {"ChecksumCRC64NVME": value} if kind == CRC64NVME else {}
    return {"PartNumber": part.number, "ETag": part.etag, **crc}


def is_held_against(answer: dict[str, Any], checksum: str) -> bool:
    """Whether S3's answer to a part says that it took notice of the checksum. Of an MD5 it says nothing."""
    kind, _, value = checksum.partition(":")
    return kind == MD5 or answer.get("ChecksumCRC64NVME") == value


def listed_checksum(part: dict[str, Any]) -> str:
    """The checksum of a part that S3 lists; empty where it tells none."""
    if crc := part.get("ChecksumCRC64NVME"):
        return f"{CRC64NVME}:{crc}"
    etag = str(part["ETag"]).strip('"')
    return f"{MD5}:{etag}" if is_md5(etag) else ""


def listed_kind(page: dict[str, Any], checksums: Sequence[str]) -> str:
    """The kind that more parts of an upload are sent with, by what S3 lists of it."""
    kinds = {kind_of(checksum) for checksum in checksums}
    is_crc = kinds == {CRC64NVME} or (not kinds and page.get("ChecksumAlgorithm") == "CRC64NVME")
    return CRC64NVME if is_crc else MD5


def needs_others(page: dict[str, Any]) -> bool:
    """Whether S3 refuses parts of an upload that it lists unless they come with checksums of a kind not used here."""
    algorithm: str = page.get("ChecksumAlgorithm", "CRC64NVME")
    return algorithm != "CRC64NVME" and page.get("ChecksumType", "COMPOSITE") != "FULL_OBJECT"


def is_joined(head: dict[str, Any], parts: Callable[[str], Sequence[Part]]) -> bool:
    """Whether an object is these parts joined, by the checksum that S3 tells of it.

    Args:
        head: the answer of `head_with_checksum`.
        parts: with checksums of a kind.
    """
    if told := head.get("ChecksumCRC64NVME"):
        sent = parts(CRC64NVME)
        if not all(kind_of(part.checksum) == CRC64NVME for part in sent):
            return False
        return bool(told == (_composite(sent) if "-" in told else _whole(sent)))
    if is_encrypted_with_key(head):
        return False
    return head["ETag"].strip('"') in _etags(parts(MD5))


def _whole(parts: Sequence[Part]) -> str:
    """The CRC64NVME of the parts joined."""
    crc = reduce(lambda crc, part: joined("CRC64-NVME", crc, _value(part), part.size_bytes), parts, 0)
    return _base64(crc.to_bytes(_CRC_BYTES, "big"))


def _composite(parts: Sequence[Part]) -> str:
    """The CRC64NVME of the parts' CRCs, with their number: what some compatible stores tell."""
    crc = Crc("CRC64-NVME")
    for part in parts:
        crc.update(_value(part).to_bytes(_CRC_BYTES, "big"))
    return f"{_base64(crc.digest())}-{len(parts)}"


def _value(part: Part) -> int:
    return int.from_bytes(base64.b64decode(part.checksum.partition(":")[2]), "big")


def _etags(parts: Sequence[Part]) -> set[str]:
    """What S3 calls an object of these parts, put in parts or, if it is one, at once."""
    digests = [part.checksum.removeprefix(f"{MD5}:") for part in parts]
    if not all(map(is_md5, digests)):
        return set()
    whole = hashlib.md5(b"".join(map(bytes.fromhex, digests)), usedforsecurity=False).hexdigest()
    return {f"{whole}-{len(parts)}", *(digests if len(digests) == 1 else ())}


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()

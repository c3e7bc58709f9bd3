"""Uploads to S3 that outlive their writer.

A part's checksum is its MD5, which S3 tells as its etag (not where the bucket encrypts with KMS or a customer's key:
then what is listed matches nothing, and nothing can be confirmed). The etag of an object put in parts is the MD5 of the
parts' MD5s, with their number.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, ClassVar

from video_assets.storage.object_keys import check_key
from video_assets.storage.object_store import MIN_PART_BYTES, ObjectInfo, ObjectNotFound, ObjectUnreadable, StoreError
from video_assets.storage.part_uploads import Part, PartUpload, PartUploads, PendingUpload, UploadedPart
from video_assets.storage.s3_errors import S3Fault

_KIND = "md5:"
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class S3Uploads(PartUploads):
    """The uploads of one place in a bucket.

    Args:
        call: the answer to the boto3 method of this name; raises `S3Fault`.
        bucket, prefix: the place; whole keys begin with the prefix.
        uri_of, head: of the store.
        typed: the store's error for a fault.
    """

    call: Callable[..., Any]
    bucket: str
    prefix: str
    uri_of: Callable[[str], str]
    head: Callable[[str], ObjectInfo]
    typed: Callable[[S3Fault], StoreError]

    min_part_bytes: ClassVar[int] = MIN_PART_BYTES

    def checksum(self, data: bytes) -> str:
        return f"{_KIND}{hashlib.md5(data, usedforsecurity=False).hexdigest()}"

    def begin(self, key: str, *, part_bytes: int) -> PartUpload:
        check_key(key)
        answer = self.send("create_multipart_upload", self.uri_of(key), **self._target(key))
        return S3PartUpload(self, key, {**self._target(key), "UploadId": answer["UploadId"]}, {})

    def resume(
        self, key: str, upload_id: str, *, part_bytes: int, parts: Iterable[UploadedPart] | None = None
    ) -> PartUpload:
        target = {**self._target(check_key(key)), "UploadId": upload_id}
        known = self._listed(key, target) if parts is None else parts
        return S3PartUpload(self, key, target, {part.number: part for part in known})

    def pending(self, prefix: str = "") -> Iterator[PendingUpload]:
        request: dict[str, str] = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        while True:
            page = self.send("list_multipart_uploads", self.uri_of(""), **request)
            for upload in page.get("Uploads", ()):
                key = str(upload["Key"]).removeprefix(self.prefix)
                yield PendingUpload(key, upload["UploadId"], upload["Initiated"].astimezone(UTC))
            if not page.get("IsTruncated"):
                return
            request |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def confirm(self, key: str, parts: Sequence[Part]) -> ObjectInfo | None:
        try:
            found = self.head(key)
        except (ObjectNotFound, ObjectUnreadable):  # who may not list is refused what is not there
            return None
        is_same = found.size_bytes == sum(part.size_bytes for part in parts) and found.etag in _etags(parts)
        return found if is_same else None

    def send(self, method: str, item: str, **arguments: Any) -> Any:
        """An answer of S3, or a typed error."""
        try:
            return self.call(method, **arguments)
        except S3Fault as fault:
            if fault.code == "NoSuchUpload":
                raise ObjectNotFound(item, "has no such upload under way", "Start another upload.") from None
            if fault.code in ("InvalidPart", "EntityTooSmall", "InvalidPartOrder"):
                raise StoreError(item, f"cannot be put together ({fault.code})", "Start another upload.") from None
            raise self.typed(fault) from None

    def _target(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _listed(self, key: str, target: dict[str, str]) -> Iterator[UploadedPart]:
        marker = 0
        while True:
            page = self.send("list_parts", self.uri_of(key), **target, PartNumberMarker=marker)
            for part in page.get("Parts", ()):
                yield _part(part["PartNumber"], part["Size"], part["ETag"])
            if not page.get("IsTruncated"):
                return
            marker = page["NextPartNumberMarker"]


class S3PartUpload(PartUpload):
    """One upload of S3."""

    def __init__(self, uploads: S3Uploads, key: str, target: dict[str, str], parts: dict[int, UploadedPart]) -> None:
        self._uploads = uploads
        self._key = key
        self._item = uploads.uri_of(key)
        self._target = target
        self._parts = parts
        self._guard = threading.Lock()

    @property
    def upload_id(self) -> str:
        return self._target["UploadId"]

    @property
    def parts(self) -> dict[int, UploadedPart]:
        with self._guard:
            return dict(self._parts)

    def send(self, number: int, data: bytes, checksum: str = "") -> UploadedPart:
        checksum = checksum or self._uploads.checksum(data)
        md5 = base64.b64encode(bytes.fromhex(checksum.removeprefix(_KIND))).decode()
        arguments = {"PartNumber": number, "Body": data, "ContentMD5": md5}
        answer = self._uploads.send("upload_part", self._item, **self._target, **arguments)
        # What S3 took, it has held against the MD5.
        part = UploadedPart(number, len(data), answer["ETag"], checksum)
        with self._guard:
            self._parts[number] = part
        return part

    def complete(self) -> ObjectInfo:
        parts = [part for _, part in sorted(self.parts.items())]
        if not parts:
            raise StoreError(self._item, "has no parts to publish", "Put an empty object instead.")
        said = {"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]}
        try:
            self._uploads.send("complete_multipart_upload", self._item, **self._target, MultipartUpload=said)
        except ObjectNotFound:
            found = self._uploads.confirm(self._key, [Part(part.size_bytes, part.checksum) for part in parts])
            if found is None:
                raise
            return found
        return self._uploads.head(self._key)

    def abort(self) -> None:
        try:
            self._uploads.send("abort_multipart_upload", self._item, **self._target)
        except ObjectNotFound:
            return


def _part(number: int, size_bytes: int, etag: str) -> UploadedPart:
    bare = etag.strip('"')
    return UploadedPart(number, size_bytes, etag, f"{_KIND}{bare}" if _MD5.fullmatch(bare) else "")


def _etags(parts: Sequence[Part]) -> set[str]:
    """What S3 calls an object of these parts, put in parts or, if it is one, at once."""
    digests = [part.checksum.removeprefix(_KIND) for part in parts]
    if not all(map(_MD5.fullmatch, digests)):
        return set()
    joined = hashlib.md5(b"".join(map(bytes.fromhex, digests)), usedforsecurity=False).hexdigest()
    return {f"{joined}-{len(parts)}", *(digests if len(digests) == 1 else ())}

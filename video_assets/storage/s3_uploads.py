"""Uploads to S3 that outlive their writer. See `s3_part_checksums` for what is held against what."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, ClassVar

from video_assets.storage.object_keys import check_key
from video_assets.storage.object_store import MIN_PART_BYTES, ObjectInfo, ObjectNotFound, ObjectUnreadable, StoreError
from video_assets.storage.part_uploads import Part, PartUpload, PartUploads, PendingUpload, UploadedPart, kind_of
from video_assets.storage.s3_checksums import NOT_KNOWN, head_with_checksum
from video_assets.storage.s3_errors import S3Fault, object_error
from video_assets.storage.s3_part_checksums import (
    CRC64NVME,
    MD5,
    is_held_against,
    is_joined,
    listed_checksum,
    listed_kind,
    needs_others,
    part_checksum,
    said_at_end,
    said_with_part,
)

PART_ATTEMPTS = 3
"""A part that came to S3 with other bytes is sent so often in a row."""

_OTHER_BYTES = ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch")


class _OtherBytes(StoreError):
    """What came to S3 is not what was sent."""


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

    def checksum(self, data: bytes, kind: str = "") -> str:
        return part_checksum(data, kind)

    def begin(self, key: str, *, part_bytes: int) -> PartUpload:
        target, item = self._target(check_key(key)), self.uri_of(key)
        try:
            wanted = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
            answer = self.call("create_multipart_upload", **target, **wanted)
        except S3Fault as fault:
            if fault.status not in NOT_KNOWN:
                raise self.typed(fault) from None
            answer = self.send("create_multipart_upload", item, **target)
        # Others pass over what they do not know.
        kind = CRC64NVME if answer.get("ChecksumAlgorithm") == "CRC64NVME" else MD5
        return S3PartUpload(self, key, {**target, "UploadId": answer["UploadId"]}, {}, kind)

    def resume(
        self,
        key: str,
        upload_id: str,
        *,
        part_bytes: int,
        parts: Iterable[UploadedPart] | None = None,
        kind: str = "",
    ) -> PartUpload:
        target = {**self._target(check_key(key)), "UploadId": upload_id}
        if parts is None:
            known, kind = self._listed(key, target)
        else:
            known = {part.number: part for part in parts}
            kind = MD5 if any(kind_of(part.checksum) == MD5 for part in known.values()) else kind or MD5
        return S3PartUpload(self, key, target, known, kind)

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

    def confirm(self, key: str, size_bytes: int, parts: Callable[[str], Sequence[Part]]) -> ObjectInfo | None:
        try:
            head = head_with_checksum(self.call, **self._target(key))
        except S3Fault as fault:
            error = object_error(fault, self.uri_of(key), self.uri_of(""), "s3:GetObject")
            if isinstance(error, ObjectNotFound | ObjectUnreadable):  # who may not list is refused what is not there
                return None
            raise error from None
        if head["ContentLength"] != size_bytes or not is_joined(head, parts):
            return None
        return ObjectInfo(key, size_bytes, head["ETag"].strip('"'), head["LastModified"].astimezone(UTC))

    def send(self, method: str, item: str, **arguments: Any) -> Any:
        """An answer of S3, or a typed error."""
        try:
            return self.call(method, **arguments)
        except S3Fault as fault:
            if fault.code == "NoSuchUpload":
                raise ObjectNotFound(item, "has no such upload under way", "Start another upload.") from None
            if fault.code in ("InvalidPart", "EntityTooSmall", "InvalidPartOrder"):
                raise StoreError(item, f"cannot be put together ({fault.code})", "Start another upload.") from None
            if fault.code in _OTHER_BYTES:
                cause = f"came to S3 with other bytes than were sent ({fault.code}), {PART_ATTEMPTS} times"
                raise _OtherBytes(item, cause, "Look at the network and at this machine's memory.") from None
            raise self.typed(fault) from None

    def _target(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _listed(self, key: str, target: dict[str, str]) -> tuple[dict[int, UploadedPart], str]:
        """The parts that S3 has, by number, and the kind that more of them are sent with."""
        parts, marker = dict[int, UploadedPart](), 0
        while True:
            page = self.send("list_parts", self.uri_of(key), **target, PartNumberMarker=marker)
            if needs_others(page):
                cause = f"has an upload under way by {page.get('ChecksumAlgorithm')}, which another program began"
                raise ObjectNotFound(self.uri_of(key), cause, "Start another upload.")
            for part in page.get("Parts", ()):
                number = part["PartNumber"]
                parts[number] = UploadedPart(number, part["Size"], part["ETag"], listed_checksum(part))
            if not page.get("IsTruncated"):
                return parts, listed_kind(page, [part.checksum for part in parts.values()])
            marker = page["NextPartNumberMarker"]


class S3PartUpload(PartUpload):
    """One upload of S3."""

    def __init__(
        self, uploads: S3Uploads, key: str, target: dict[str, str], parts: dict[int, UploadedPart], kind: str
    ) -> None:
        self._uploads = uploads
        self._key = key
        self._item = uploads.uri_of(key)
        self._target = target
        self._parts = parts
        self._kind = kind
        self._guard = threading.Lock()

    @property
    def upload_id(self) -> str:
        return self._target["UploadId"]

    @property
    def kind(self) -> str:
        return self._kind

    @property
    def parts(self) -> dict[int, UploadedPart]:
        with self._guard:
            return dict(self._parts)

    def send(self, number: int, data: bytes, checksum: str = "") -> UploadedPart:
        if kind_of(checksum) != self._kind:
            checksum = part_checksum(data, self._kind)
        answer = self._sent(PartNumber=number, Body=data, **said_with_part(checksum))
        if not is_held_against(answer, checksum):
            # The store passes over it: this part goes again with its MD5, as those do that follow.
            self._kind = MD5
            return self.send(number, data)
        part = UploadedPart(number, len(data), answer["ETag"], checksum)
        with self._guard:
            self._parts[number] = part
        return part

    def complete(self) -> ObjectInfo:
        parts = [part for _, part in sorted(self.parts.items())]
        if not parts:
            raise StoreError(self._item, "has no parts to publish", "Put an empty object instead.")
        said = {"Parts": [said_at_end(part) for part in parts]}
        try:
            self._uploads.send("complete_multipart_upload", self._item, **self._target, MultipartUpload=said)
        except ObjectNotFound:
            size_bytes, sent = sum(p.size_bytes for p in parts), [Part(p.size_bytes, p.checksum) for p in parts]
            found = self._uploads.confirm(self._key, size_bytes, lambda kind: sent)
            if found is None:
                raise
            return found
        return self._uploads.head(self._key)

    def abort(self) -> None:
        try:
            self._uploads.send("abort_multipart_upload", self._item, **self._target)
        except ObjectNotFound:
            return

    def _sent(self, **arguments: Any) -> Any:
        """S3's answer to a part, sent again where other bytes came to it."""
        for _ in range(1, PART_ATTEMPTS):
            with contextlib.suppress(_OtherBytes):
                return self._uploads.send("upload_part", self._item, **self._target, **arguments)
        return self._uploads.send("upload_part", self._item, **self._target, **arguments)

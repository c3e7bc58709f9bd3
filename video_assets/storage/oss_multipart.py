"""Objects sent to OSS in parts, and what dead writers leave of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import reduce
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from video_assets.storage.crc import Crc, joined
from video_assets.storage.object_store import MAX_PART_NUMBER, MultipartUpload, ObjectInfo, StoreError, StoreUnavailable
from video_assets.storage.oss_client import OssConnection
from video_assets.storage.oss_errors import code_of, store_errors
from video_assets.storage.oss_uri import OssPlace

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DEAD_AFTER = timedelta(days=7)
"""An upload that has begun, and had its last part, longer ago than this is a dead writer's. OSS knows no more of it."""


PART_ATTEMPTS = 3
"""A part that came to OSS with other bytes is sent so often in a row."""


class OssPart(NamedTuple):
    """A part that OSS has."""

    etag: str
    crc: int
    size_bytes: int


class OssMultipartUpload(MultipartUpload):
    """One upload. A part that fails is sent again by itself, and an upload that was left is taken up by its id.

    Args:
        key: the bucket's own, whole key.
        item: the object's URI, for errors.
        if_absent: complete only where no object is.
        published: gives the object's entry, from its etag, its size and the answer to its completion.
        upload_id: takes up this upload, with the parts that OSS has of it, instead of starting one.
        known: the parts that OSS has of it; where they are given, it is not asked.

    Attributes:
        upload_id: what OSS calls the upload.
    """

    def __init__(
        self,
        connection: OssConnection,
        place: OssPlace,
        key: str,
        item: str,
        *,
        if_absent: bool,
        published: Callable[[str, int, Any], ObjectInfo],
        upload_id: str | None = None,
        known: dict[int, OssPart] | None = None,
    ) -> None:
        self._client = connection.client
        self._sender = connection.parts
        self._place = place
        self._key = key
        self._item = item
        self._if_absent = if_absent
        self._published = published
        self._parts: dict[int, OssPart] = dict(known or {})
        self._guard = threading.Lock()
        self._is_over = False
        self.upload_id = upload_id or self._initiate()
        if upload_id and known is None:
            self._load_parts()

    @property
    def parts(self) -> dict[int, int]:
        """The size of each part that OSS has, by its number."""
        return {number: part.size_bytes for number, part in sorted(self._parts.items())}

    @property
    def sent(self) -> dict[int, OssPart]:
        """The parts that OSS has, by number."""
        with self._guard:
            return dict(self._parts)

    def write_part(self, number: int, data: bytes, crc: int | None = None) -> None:
        """Sends a part. `crc` is its CRC64, where that is known already."""
        from alibabacloud_oss_v2 import UploadPartRequest

        if not 1 <= number <= MAX_PART_NUMBER:
            raise ValueError(f"part number {number} is not from 1 to {MAX_PART_NUMBER}")
        self._check_open()
        crc = crc64(data) if crc is None else crc
        # With a progress to report, the SDK sends by 32 KiB, else all within the one timeout, however slow the line.
        place, upload_id = self._place, self.upload_id
        asked = UploadPartRequest(place.bucket, self._key, number, upload_id, body=data, progress_fn=_no_progress)
        for _ in range(PART_ATTEMPTS):
            with store_errors(self._place, self._item):
                said = self._sender.upload_part(asked)
            if said.hash_crc64 in (None, str(crc)):
                break
        else:
            cause = f"came to OSS with other bytes than were sent (CRC64 differs), {PART_ATTEMPTS} times"
            raise StoreError(self._item, cause, "Look at the network and at this machine's memory.")
        with self._guard:
            self._parts[number] = OssPart(said.etag.strip('"'), crc, len(data))

    def complete(self) -> ObjectInfo:
        from alibabacloud_oss_v2 import CompleteMultipartUpload, CompleteMultipartUploadRequest, UploadPart
        from alibabacloud_oss_v2.exceptions import BaseError

        self._check_open()
        if not self._parts:
            raise StoreError(self._item, "has no parts to publish", "Put an empty object instead.")
        parts = [UploadPart(part_number=number, etag=self._parts[number].etag) for number in sorted(self._parts)]
        asked = CompleteMultipartUploadRequest(
            self._place.bucket,
            self._key,
            self.upload_id,
            complete_multipart_upload=CompleteMultipartUpload(parts=parts),
            forbid_overwrite="true" if self._if_absent else None,
        )
        with store_errors(self._place, self._item):
            try:
                said = self._client.complete_multipart_upload(asked)
            except BaseError as error:
                # The answer to an earlier try may have been lost: then the upload is gone as it was completed.
                said = self._completed_before() if code_of(error) == "NoSuchUpload" else None
                if said is None:
                    raise
        self._is_over = True
        return self._published(said.etag, sum(part.size_bytes for part in self._parts.values()), said)

    def abort(self) -> None:
        from alibabacloud_oss_v2 import AbortMultipartUploadRequest
        from alibabacloud_oss_v2.exceptions import BaseError

        if self._is_over:
            return
        self._is_over = True
        with store_errors(self._place, self._item):
            try:
                asked = AbortMultipartUploadRequest(self._place.bucket, self._key, self.upload_id)
                self._client.abort_multipart_upload(asked)
            except BaseError as error:
                if code_of(error) != "NoSuchUpload":
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.abort()
        except StoreUnavailable:
            # A sweep takes the parts later; the error of the block says more.
            if error is None:
                raise

    def _initiate(self) -> str:
        from alibabacloud_oss_v2 import InitiateMultipartUploadRequest

        with store_errors(self._place, self._item):
            asked = InitiateMultipartUploadRequest(self._place.bucket, self._key)
            upload_id: str = self._client.initiate_multipart_upload(asked).upload_id
        return upload_id

    def _load_parts(self) -> None:
        with store_errors(self._place, self._item):
            for part in _parts(self._client, self._place, self._key, self.upload_id):
                self._parts[part.part_number] = OssPart(part.etag.strip('"'), int(part.hash_crc64), part.size)

    def _check_open(self) -> None:
        if self._is_over:
            raise StoreError(self._item, "was already completed or aborted", "Start another upload.")

    def _completed_before(self) -> Any:
        """What OSS says of the object, if it is what these parts make; else None."""
        from alibabacloud_oss_v2 import HeadObjectRequest

        parts = [part for _, part in sorted(self._parts.items())]
        size, crc = sum(part.size_bytes for part in parts), joined_crc64((part.crc, part.size_bytes) for part in parts)
        found = self._client.head_object(HeadObjectRequest(self._place.bucket, self._key))
        return found if (found.content_length, found.hash_crc64) == (size, str(crc)) else None


def _no_progress(*_: int) -> None:
    """Is told what was sent."""


def crc64(data: ReadableBuffer) -> int:
    """The CRC64 of bytes as OSS has it."""
    crc = Crc("CRC64-XZ")
    crc.update(data)
    return crc.value


def joined_crc64(parts: Iterable[tuple[int, int]]) -> int:
    """The CRC64 of parts joined, from the CRC64 and the size of each."""
    return reduce(lambda crc, part: joined("CRC64-XZ", crc, *part), parts, 0)


def abort_dead_uploads(connection: OssConnection, place: OssPlace, now: datetime | None = None) -> int:
    """Aborts the uploads below the place whose last sign of life is older than `DEAD_AFTER`; returns how many."""
    from alibabacloud_oss_v2 import AbortMultipartUploadRequest
    from alibabacloud_oss_v2.exceptions import BaseError

    now, aborted = now or datetime.now(UTC), 0
    with store_errors(place, place.uri):
        for upload in list(uploads_under_way(connection.client, place)):
            if now - upload.initiated < DEAD_AFTER:
                continue
            try:
                if now - _last_part_at(connection.client, place, upload) < DEAD_AFTER:
                    continue
                asked = AbortMultipartUploadRequest(place.bucket, upload.key, upload.upload_id)
                connection.client.abort_multipart_upload(asked)
                aborted += 1
            except BaseError as error:
                if code_of(error) != "NoSuchUpload":  # another sweeper was faster, or the writer has finished
                    raise
    return aborted


def uploads_under_way(client: Any, place: OssPlace, prefix: str = "") -> Iterator[Any]:
    """What OSS says of each upload below the place whose key goes on with `prefix`."""
    from alibabacloud_oss_v2 import ListMultipartUploadsRequest

    prefix = (f"{place.path}/" if place.path else "") + prefix
    for page in client.list_multipart_uploads_paginator().iter_page(
        ListMultipartUploadsRequest(place.bucket, prefix=prefix, encoding_type="url")
    ):
        yield from page.uploads or []


def _last_part_at(client: Any, place: OssPlace, upload: Any) -> datetime:
    last: datetime = upload.initiated
    for part in _parts(client, place, upload.key, upload.upload_id):
        last = max(last, part.last_modified)
    return last


def _parts(client: Any, place: OssPlace, key: str, upload_id: str) -> Iterator[Any]:
    from alibabacloud_oss_v2 import ListPartsRequest

    asked = ListPartsRequest(place.bucket, key, upload_id, encoding_type="url")
    for page in client.list_parts_paginator().iter_page(asked):
        yield from page.parts or []

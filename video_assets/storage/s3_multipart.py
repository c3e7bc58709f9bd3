"""Objects sent to S3 in parts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

from video_assets.storage.object_store import MAX_PART_NUMBER, MultipartUpload, ObjectInfo, StoreError


class _Part(NamedTuple):
    etag: str
    size_bytes: int


class S3MultipartUpload(MultipartUpload):
    """One multipart upload of S3; what is never completed stays invisible until it is swept.

    Args:
        call: sends the S3 request of a boto3 method's name and typed errors.
        item: the URI of the object, for errors.
        target: bucket and whole key, as boto3 names them.
        published: the object's info, by its etag and size.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        item: str,
        target: dict[str, str],
        published: Callable[[str, int], ObjectInfo],
    ) -> None:
        self._call = call
        self._item = item
        self._published = published
        self._parts: dict[int, _Part] = {}
        self._guard = threading.Lock()
        self._target = {**target, "UploadId": call("create_multipart_upload", **target)["UploadId"]}
        self._is_open = True

    def write_part(self, number: int, data: bytes) -> None:
        if not 1 <= number <= MAX_PART_NUMBER:
            raise ValueError(f"part number {number} is not from 1 to {MAX_PART_NUMBER}")
        self._check_open()
        answer = self._call("upload_part", **self._target, PartNumber=number, Body=data)
        with self._guard:
            self._parts[number] = _Part(answer["ETag"], len(data))

    def copy_part(self, number: int, copy: Callable[..., Any], span: range) -> None:
        """Takes the bytes `span` of another object for part `number`; `copy` sends boto3's `upload_part_copy`."""
        answer = copy(**self._target, PartNumber=number, CopySourceRange=f"bytes={span.start}-{span.stop - 1}")
        with self._guard:
            self._parts[number] = _Part(answer["CopyPartResult"]["ETag"], len(span))

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        self._check_open()
        with self._guard:
            parts = [{"PartNumber": number, "ETag": part.etag} for number, part in sorted(self._parts.items())]
            size_bytes = sum(part.size_bytes for part in self._parts.values())
        if not parts:
            raise StoreError(self._item, "has no parts to publish", "Put an empty object instead.")
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        answer = self._call("complete_multipart_upload", **self._target, MultipartUpload={"Parts": parts}, **condition)
        self._is_open = False
        return self._published(answer["ETag"].strip('"'), size_bytes)

    def abort(self) -> None:
        if self._is_open:
            self._is_open = False
            self._call("abort_multipart_upload", **self._target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError(self._item, "was already completed or aborted", "Start another upload.")

"""Reads of one version of an object: whole, verified by CRC64 and resumed where they break, or a range."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from video_assets.storage.object_store import STREAM_CHUNK_BYTES, ObjectUnreadable
from video_assets.storage.oss_client import ATTEMPTS, OssConnection
from video_assets.storage.oss_errors import code_of, store_errors, unreachable
from video_assets.storage.oss_uri import OssPlace


class DamagedRead(ObjectUnreadable):
    """All bytes arrived, and their checksum is not the object's."""


class OssObjectReader:
    """Reads of the object `key` (the bucket's own, whole key) as it is at the first of them, or at `etag`.

    Args:
        item: the object's URI, for errors.
    """

    def __init__(self, connection: OssConnection, place: OssPlace, key: str, item: str, etag: str | None) -> None:
        self._client = connection.client
        self._place = place
        self._key = key
        self._item = item
        self._etag = etag
        self._crc: int | None = None

    def range(self, start: int, length: int | None) -> bytes:
        """Bytes `start` to `start + length`, cut at the object's end. OSS sends no checksum of a range."""
        from alibabacloud_oss_v2.exceptions import BaseError

        span = f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"
        with store_errors(self._place, self._item):
            try:
                answer = get_range(self._client, self._place, self._key, span, self._etag)
            except BaseError as error:
                if code_of(error) == "InvalidRange":
                    return b""
                raise
        content: bytes = answer.http_response.content
        return content

    def whole(self) -> bytes:
        """All bytes, read again if they arrive damaged."""
        for attempt in range(ATTEMPTS):
            try:
                return b"".join(self.stream(STREAM_CHUNK_BYTES))
            except DamagedRead:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    def stream(self, chunk_bytes: int) -> Iterator[bytes]:
        """All bytes in chunks. A connection that breaks is taken up where it broke, for the same version.

        The last chunk is held back until the CRC64 of the whole is right, so that nobody takes damaged bytes for all.

        Raises:
            DamagedRead: the bytes arrived damaged.
        """
        from alibabacloud_oss_v2.crc import Crc64
        from requests import RequestException

        crc, held, place, breaks = Crc64(0), b"", 0, 0
        while True:
            try:
                for chunk in self._body(place, chunk_bytes):
                    if held:
                        yield held
                    crc.update(chunk)
                    held, place, breaks = chunk, place + len(chunk), 0
                break
            except RequestException as error:
                breaks += 1
                self._pause(breaks, error)
        if self._crc not in (None, crc.sum64()):
            raise DamagedRead(self._item, "arrived damaged: its CRC64 is another", "Run again: it is read anew.")
        if held:
            yield held

    def _body(self, start: int, chunk_bytes: int) -> Iterator[bytes]:
        """The chunks from `start` on; notes the version and the checksum of the whole, for later requests."""
        answer = self._get(f"bytes={start}-" if start else None)
        if answer is None:
            return
        self._etag = (answer.etag or "").strip('"') or self._etag
        self._crc = int(answer.hash_crc64) if answer.hash_crc64 else self._crc
        with answer.body as body:
            yield from body.iter_bytes(block_size=chunk_bytes)

    def _pause(self, breaks: int, error: Exception) -> None:
        """Waits before the next try, or gives up."""
        if breaks >= ATTEMPTS:
            raise unreachable(self._place, error) from error
        time.sleep(random.uniform(0, 0.1 * 2**breaks))  # noqa: S311 (jitter)

    def _get(self, span: str | None) -> Any:
        """The answer to one GET, its body still to be read; None for a range that begins beyond the end."""
        from alibabacloud_oss_v2 import GetObjectRequest
        from alibabacloud_oss_v2.exceptions import BaseError

        asked = GetObjectRequest(
            self._place.bucket,
            self._key,
            if_match=_quoted(self._etag),
            range_header=span,
            range_behavior="standard" if span else None,
        )
        with store_errors(self._place, self._item):
            try:
                return self._client.get_object(asked)
            except BaseError as error:
                if code_of(error) == "InvalidRange":
                    return None
                raise


def get_range(client: Any, place: OssPlace, key: str, span: str, etag: str | None = None) -> Any:
    """The answer to a GET of a range, its body read, again where it broke off. Raises what the SDK raises."""
    from alibabacloud_oss_v2.types import OperationInput

    # Without this header, OSS answers a range beyond the end with the whole object.
    headers = {"Range": span, "x-oss-range-behavior": "standard", "If-Match": _quoted(etag)}
    headers = {name: value for name, value in headers.items() if value is not None}
    return client.invoke_operation(OperationInput("GetObject", "GET", headers=headers, bucket=place.bucket, key=key))


def _quoted(etag: str | None) -> str | None:
    return f'"{etag}"' if etag else None

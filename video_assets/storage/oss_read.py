"""Reads of one version of an object: whole, verified by CRC64 and resumed where they break, or a range.

One that goes to a file is read by several requests at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from video_assets.storage.crc import Crc
from video_assets.storage.object_store import STREAM_CHUNK_BYTES, Digest, ObjectUnreadable, object_changed
from video_assets.storage.oss_client import ATTEMPTS, OssConnection
from video_assets.storage.oss_errors import code_of, store_errors, unreachable
from video_assets.storage.oss_uri import OssPlace
from video_assets.storage.parallel_read import read_spans, spans_of
from video_assets.storage.positioned_file import PositionedFile

CONNECTIONS = 4
"""Requests under way at a time for one object that goes to a file."""

LEAST_SPAN_BYTES, MOST_SPAN_BYTES = 4 * 1024 * 1024, 16 * 1024 * 1024
"""What each of them asks for: a request takes tens of milliseconds to begin, and nothing of it is held."""

PIECE_BYTES = 256 * 1024

_Span = range


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
        from requests import RequestException

        crc, held, place, breaks = Crc("CRC64-XZ"), b"", 0, 0
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
        self._check(crc)
        if held:
            yield held

    def into(self, file: PositionedFile, digests: Sequence[Digest]) -> int:
        """Writes all bytes to a file, each at its place; returns how many.

        Raises:
            ObjectChanged: it is another version.
            DamagedRead: the bytes arrived damaged.
        """
        from alibabacloud_oss_v2 import HeadObjectRequest

        with store_errors(self._place, self._item):
            said = self._client.head_object(HeadObjectRequest(self._place.bucket, self._key))
        found, size = said.etag.strip('"'), said.content_length
        if self._etag not in (None, found):
            raise object_changed(self._item, found, str(self._etag))
        self._etag, self._crc = found, int(said.hash_crc64) if said.hash_crc64 else None
        crc = Crc("CRC64-XZ")
        spans = spans_of(0, size, CONNECTIONS, least=LEAST_SPAN_BYTES, most=MOST_SPAN_BYTES)
        read_spans(spans, self._span, file, lambda: [*digests, crc], connections=CONNECTIONS)
        self._check(crc)
        return int(size)

    def _check(self, crc: Crc) -> None:
        if self._crc not in (None, crc.value):
            raise DamagedRead(self._item, "arrived damaged: its CRC64 is another", "Run again: it is read anew.")

    def _span(self, span: _Span) -> Iterator[bytes]:
        """The bytes of a span; a connection that breaks is taken up where it broke."""
        from requests import RequestException

        place, breaks = span.start, 0
        while place < span.stop:
            try:
                for chunk in self._body(place, PIECE_BYTES, span.stop):
                    yield chunk
                    place, breaks = place + len(chunk), 0
                if place < span.stop:
                    raise RequestException("the answer is shorter than asked for")
            except RequestException as error:
                breaks += 1
                self._pause(breaks, error)

    def _body(self, start: int, chunk_bytes: int, end: int | None = None) -> Iterator[bytes]:
        """The chunks from `start` on; notes the version and the checksum of the whole, for later requests."""
        last = "" if end is None else end - 1
        answer = self._get(f"bytes={start}-{last}" if start or end is not None else None)
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

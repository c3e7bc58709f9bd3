"""Reads of one version of one object: broken connections are taken up again, wrong bytes are found out.

S3's etag is the MD5 of an object put in one piece and not encrypted with a key of KMS: a read of the whole object is
held against it. A range, or an object put in parts, has only its length to be held against.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from video_assets.storage.object_store import StoreError
from video_assets.storage.s3_bucket import ask, call
from video_assets.storage.s3_clients import S3Clients
from video_assets.storage.s3_errors import S3Fault, s3_faults

READ_ATTEMPTS = 5
"""How often a read goes on where the connection broke, or begins again where the bytes were wrong."""

_PIECE_BYTES = 1024 * 1024
_MD5 = re.compile(r"[0-9a-f]{32}")


class CorruptedRead(StoreError):
    """The bytes that came are not those that the object's etag names."""


def read(bucket: str, key: str, item: str, etag: str | None, start: int, length: int | None) -> Iterator[bytes]:
    """The bytes of one version from `start`, `length` of them or all, in pieces of any size.

    Raises:
        S3Fault: what S3 says; the connection broke `READ_ATTEMPTS` times.
        CorruptedRead: a whole object was read, and its bytes are not those of its etag.
    """
    digest = hashlib.md5(usedforsecurity=False)
    is_whole = start == 0 and length is None
    position, end, failures = start, None if length is None else start + length, 0
    while end is None or position < end:
        try:
            result = ask(bucket, _request(key, etag, position, end))
            if result is None:
                return
            etag, end = (result.meta["e_tag"] or "").strip('"'), result.range[1]
            with s3_faults():
                pieces = iter(result.stream(min_chunk_size=_PIECE_BYTES))
            while piece := _next(pieces):
                position += len(piece)
                if is_whole:
                    digest.update(piece)
                yield piece
            if position < end:
                raise S3Fault(0, "", "IncompleteRead")
            break
        except S3Fault as fault:
            failures += 1
            if fault.status or failures >= READ_ATTEMPTS:
                raise
            wait_before(failures)
    if is_whole and etag and _MD5.fullmatch(etag) and digest.hexdigest() != etag and _etag_is_md5(bucket, key, etag):
        raise CorruptedRead(item, "the bytes that came are not those of its etag", "Rerun; look at the network.")


def read_whole(bucket: str, key: str, item: str, etag: str | None) -> bytes:
    """The whole object, read again where the bytes were wrong; raises as `read`."""
    for attempt in range(1, READ_ATTEMPTS):
        try:
            return b"".join(read(bucket, key, item, etag, 0, None))
        except CorruptedRead:
            wait_before(attempt)
    return b"".join(read(bucket, key, item, etag, 0, None))


def rechunked(pieces: Iterable[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """The same bytes in chunks of `chunk_bytes`, the last one shorter."""
    buffer = bytearray()
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while len(buffer) + len(view) >= chunk_bytes:
            cut = chunk_bytes - len(buffer)
            yield bytes(buffer) + bytes(view[:cut])
            buffer.clear()
            view = view[cut:]
        buffer += view
    if buffer:
        yield bytes(buffer)


def wait_before(attempt: int) -> None:
    """Waits longer before each attempt, with jitter: 0.1, 0.2, 0.4 … s at most."""
    time.sleep(random.uniform(0.5, 1) * 0.1 * 2 ** (attempt - 1))  # noqa: S311


def _request(key: str, etag: str | None, start: int, end: int | None) -> Callable[[S3Clients], Any]:
    import obstore

    options: Any = {}
    if etag is not None:
        options["if_match"] = f'"{etag}"'
    if end is not None:
        options["range"] = (start, end)
    elif start:
        options["range"] = {"offset": start}

    def request(clients: S3Clients) -> Any:
        try:
            with s3_faults():
                return obstore.get(clients.data, key, options=options)
        except S3Fault as fault:
            if fault.status == 416:
                return None  # the range begins at or after the object's end
            raise

    return request


def _next(pieces: Iterator[bytes]) -> bytes:
    with s3_faults():
        return next(pieces, b"")


def _etag_is_md5(bucket: str, key: str, etag: str) -> bool:
    """Whether an etag that looks like an MD5 is one: it is not, where the object is encrypted with a key of KMS."""
    head = call(bucket, "head_object", Bucket=bucket, Key=key)
    is_other = head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head
    return not is_other and head["ETag"].strip('"') == etag

"""Reads of one version of one object: broken connections are taken up again, wrong bytes are found out.

S3's etag is the MD5 of an object put in one piece and not encrypted with a key of KMS: a read of the whole object is
held against it, and one that goes to a file against the checksum that S3 has of it, where it has one. A range has
only its length to be held against. All requests of one read ask for the version that the first of them saw.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from video_assets.storage.object_store import Digest, StoreError
from video_assets.storage.parallel_read import read_spans, spans_of
from video_assets.storage.positioned_file import PositionedFile
from video_assets.storage.s3_bucket import ask, call
from video_assets.storage.s3_checksums import Expected, ask_expected, is_encrypted_with_key, is_md5, md5_of
from video_assets.storage.s3_clients import S3Clients
from video_assets.storage.s3_errors import S3Fault, s3_faults

READ_ATTEMPTS = 5
"""How often a read goes on where the connection broke, or begins again where the bytes were wrong."""

SPAN_BYTES = 4 * 1024 * 1024
"""A larger object that is streamed is read by requests of this size."""

SPANS_AHEAD = 3
"""How many of them are under way or waiting to be taken; what a read holds in memory is one more."""

CONNECTIONS = 4
"""Requests under way at a time for one object that goes to a file."""

FIRST_BYTES = 4 * 1024 * 1024
"""What the first of them asks for, which tells the size too."""

LEAST_SPAN_BYTES, MOST_SPAN_BYTES = 4 * 1024 * 1024, 16 * 1024 * 1024
"""What the others ask for: a request takes tens of milliseconds to begin, and nothing of it is held."""

ASKED_BYTES = 8 * 1024 * 1024
"""From this size on, S3 is asked for a checksum that is cheaper than MD5, which takes 1.6 ms of CPU a megabyte."""

_PIECE_BYTES = 1024 * 1024


class CorruptedRead(StoreError):
    """The bytes that came are not those that the object's etag names."""


@dataclass
class _Version:
    """What is read, as far as it is known: the etag asked for or first seen, and the size."""

    etag: str | None
    size_bytes: int | None = None


def read(bucket: str, key: str, item: str, etag: str | None, start: int, length: int | None) -> Iterator[bytes]:
    """The bytes of one version from `start`, `length` of them or all, in pieces of any size.

    Raises:
        S3Fault: what S3 says; the connection broke `READ_ATTEMPTS` times.
        CorruptedRead: a whole object was read, and its bytes are not those of its etag.
    """
    if start == 0 and length is None:
        return _whole(bucket, key, item, etag)
    return _span(bucket, key, _Version(etag), start, None if length is None else start + length)


def read_whole(bucket: str, key: str, item: str, etag: str | None) -> bytes:
    """The whole object, read again where the bytes were wrong; raises as `read`."""
    for attempt in range(1, READ_ATTEMPTS):
        try:
            return b"".join(_whole(bucket, key, item, etag))
        except CorruptedRead:
            wait_before(attempt)
    return b"".join(_whole(bucket, key, item, etag))


def _whole(bucket: str, key: str, item: str, etag: str | None) -> Iterator[bytes]:
    """All bytes, held against an etag that is their MD5."""
    version, digest = _Version(etag), hashlib.md5(usedforsecurity=False)
    is_held_against = None
    for piece in _spans(bucket, key, version):
        if is_held_against is None:
            is_held_against = is_md5(version.etag or "")
        if is_held_against:
            digest.update(piece)
        yield piece
    if is_held_against and digest.hexdigest() != version.etag and _etag_is_md5(bucket, key, str(version.etag)):
        raise _corrupted(item, "etag")


def read_into(
    bucket: str, key: str, item: str, etag: str | None, file: PositionedFile, digests: Sequence[Digest]
) -> int:
    """Writes all bytes of one version to a file, each at its place; returns how many.

    Raises:
        S3Fault: what S3 says; a connection broke `READ_ATTEMPTS` times.
        CorruptedRead: the bytes are not those that S3 has.
    """
    version = _Version(etag)
    first = _span(bucket, key, version, 0, FIRST_BYTES)
    begun = next(first, b"")
    size, found_etag = version.size_bytes or 0, version.etag or ""
    if not begun:
        return 0
    rest = spans_of(FIRST_BYTES, size, CONNECTIONS - 1, least=LEAST_SPAN_BYTES, most=MOST_SPAN_BYTES)
    expected: list[Expected] = []

    def pieces(span: range) -> Iterator[bytes]:
        if span.start == 0:
            return itertools.chain((begun,), first)
        return _span(bucket, key, version, span.start, span.stop)

    def all_digests() -> Sequence[Digest]:
        expected.extend(_expected(bucket, key, found_etag, size))
        return [*digests, *(each.digest for each in expected)]

    read_spans([range(min(FIRST_BYTES, size)), *rest], pieces, file, all_digests, connections=CONNECTIONS)
    for each in expected:
        if not each.is_met and (each.name != "MD5" or _etag_is_md5(bucket, key, found_etag)):
            raise _corrupted(item, each.name)
    return size


def _expected(bucket: str, key: str, etag: str, size: int) -> list[Expected]:
    """What the bytes of a version are held against: one thing, or none where S3 has no checksum of them."""
    if not etag:
        return []
    if size < ASKED_BYTES and is_md5(etag):
        return [md5_of(etag)]
    found = ask_expected(bucket, key, etag)
    return [found] if found else []


def _spans(bucket: str, key: str, version: _Version) -> Iterator[bytes]:
    """All bytes: the first as they come, those of a larger object by several requests ahead of what is taken.

    One connection brings less than a disk takes, and its bytes would wait for each other's writing and hashing.
    """
    first = _span(bucket, key, version, 0, SPAN_BYTES)
    begun = next(first, b"")
    starts = iter(range(SPAN_BYTES, version.size_bytes or 0, SPAN_BYTES))

    def fetch(start: int) -> bytes:
        return b"".join(_span(bucket, key, version, start, start + SPAN_BYTES))

    with ThreadPoolExecutor(SPANS_AHEAD, thread_name_prefix="s3 read") as pool:
        ahead = deque(pool.submit(fetch, start) for start in itertools.islice(starts, SPANS_AHEAD))
        try:
            if begun:
                yield begun
            yield from first
            while ahead:
                span = ahead.popleft().result()
                ahead.extend(pool.submit(fetch, start) for start in itertools.islice(starts, 1))
                yield span
        finally:
            for waiting in ahead:
                waiting.cancel()


def _span(bucket: str, key: str, version: _Version, position: int, end: int | None) -> Iterator[bytes]:
    """Bytes `position` to `end`, or to the object's end, by one request, and more where the connection breaks."""
    failures = 0
    while end is None or position < end:
        try:
            result = ask(bucket, _request(key, version.etag, position, end))
            if result is None:
                return
            version.etag, version.size_bytes = (result.meta["e_tag"] or "").strip('"'), result.meta["size"]
            end = result.range[1]
            with s3_faults():
                pieces = iter(result.stream(min_chunk_size=_PIECE_BYTES))
            while piece := _next(pieces):
                position += len(piece)
                yield piece
            if position < end:
                raise S3Fault(0, "", "IncompleteRead")
            return
        except S3Fault as fault:
            failures += 1
            if fault.status or failures >= READ_ATTEMPTS:
                raise
            wait_before(failures)


def _corrupted(item: str, checksum: str) -> CorruptedRead:
    return CorruptedRead(item, f"the bytes that came are not those of its {checksum}", "Rerun; look at the network.")


def rechunked(pieces: Iterable[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """The same bytes in chunks of `chunk_bytes`, the last one shorter."""
    held, size = list[memoryview](), 0
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while size + len(view) >= chunk_bytes:
            cut = chunk_bytes - size
            yield b"".join((*held, view[:cut]))
            held.clear()
            size, view = 0, view[cut:]
        if view:
            held.append(view)
            size += len(view)
    if held:
        yield b"".join(held)


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
    return not is_encrypted_with_key(head) and head["ETag"].strip('"') == etag

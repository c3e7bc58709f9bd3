"""`s3://bucket/prefix`: a store in a bucket of S3 or of a compatible server.

- obstore carries the bytes: gets, ranges, streams and puts. boto3 does what obstore has no call for: parts by number,
  conditional copies, uploads left behind, and listings (see `s3_listing`).
- The etag is S3's, without its quotes. Reads with an etag are conditional (`If-Match`) on the server.
- A key that `object_keys.segment_fault` faults is listed but cannot be read.
- An object put from an iterator goes up in parts of `PART_BYTES` once it has more than that, one part in memory.
- What a dead writer leaves is a multipart upload that nobody sees; `sweep` aborts those older than `STALE`,
  and removes claims of locks (`claim_lock`) that old.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import logging
import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from video_assets.storage.claim_lock import Claims, hold_claim
from video_assets.storage.listing_page import ListingPage
from video_assets.storage.object_keys import HIDDEN_FOLDER, check_key, is_hidden, printable_key, segment_fault
from video_assets.storage.object_reader import open_reader
from video_assets.storage.object_store import (
    MAX_PART_NUMBER,
    STREAM_CHUNK_BYTES,
    CommonPrefix,
    Digest,
    InvalidKey,
    MultipartUpload,
    ObjectExists,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    ObjectUnreadable,
    StoreError,
    StoreUnavailable,
    object_changed,
)
from video_assets.storage.positioned_file import PositionedFile
from video_assets.storage.prefix_rollup import roll_up
from video_assets.storage.s3_bucket import ask, call
from video_assets.storage.s3_errors import S3Fault, is_condition, object_error, store_error
from video_assets.storage.s3_listing import list_page
from video_assets.storage.s3_multipart import S3MultipartUpload
from video_assets.storage.s3_reads import read, read_into, read_whole, rechunked
from video_assets.storage.s3_uploads import S3Uploads
from video_assets.storage.s3_uri import object_uri

_logger = logging.getLogger(__name__)

PART_BYTES = 16 * 1024 * 1024
"""An object put from an iterator is sent in parts of this size."""

COPY_PART_BYTES = 4 * 1024**3
"""S3 copies no more than 5 GiB in one request."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

STALE = timedelta(days=7)
"""A multipart upload begun so long ago has no live writer."""


class S3Store(ObjectStore):
    """A bucket, or what lies below a prefix of one. Nothing is asked of S3 before the first use."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self._bucket = bucket
        self._prefix = prefix

    def __repr__(self) -> str:
        return f"S3Store({self.uri!r})"

    def __reduce__(self) -> tuple[type[S3Store], tuple[str, str]]:
        return S3Store, (self._bucket, self._prefix)

    @property
    def uri(self) -> str:
        return object_uri(self._bucket, self._prefix).rstrip("/")

    @property
    def conditional_put(self) -> bool:
        with self._store_errors("s3:PutObject"):
            return _keeps_conditions(self._bucket, self._prefix)

    def uri_of(self, key: str) -> str:
        return object_uri(self._bucket, self._prefix + key)

    def key_of(self, uri: str) -> str | None:
        base = f"s3://{self._bucket}/"
        key = unquote(uri.removeprefix(base)) if uri.startswith(base) else ""
        is_below = key.startswith(self._prefix) and key != self._prefix
        return key[len(self._prefix) :] if is_below else None

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        last = first = _sortable(start_after)
        whole_start = self._prefix + start_after if start_after else ""
        for page in self._pages(self._whole(prefix), "", whole_start):
            infos = [_below(info, len(self._prefix)) for info in page.objects] if self._prefix else page.objects
            keys = _all_sortable([info.key for info in infos])
            # Some servers begin at or before what was asked for.
            skipped = bisect.bisect_right(keys, first)
            if any(map(operator.ge, [last, *keys[skipped:]], keys[skipped:])):
                raise self._out_of_order()
            last = keys[-1] if keys else last
            dotted = bisect.bisect_left(keys, b".", skipped)
            if dotted < len(keys) and keys[dotted].startswith(b"."):
                yield from (info for info in infos[skipped:] if not is_hidden(info.key.partition("/")[0]))
            else:
                yield from infos[skipped:]

    def list_level(
        self, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        if delimiter == "/":
            yield from self._entries(prefix, delimiter, start_after)
        else:
            yield from roll_up(self.list(prefix, start_after=start_after), prefix, delimiter, start_after)

    def _entries(self, prefix: str, delimiter: str, start_after: str) -> Iterator[ObjectInfo | CommonPrefix]:
        """What is listed, without the store's own folder."""
        for entry in self._all_entries(prefix, delimiter, start_after):
            name = _name(entry)
            if name and not is_hidden(name.partition("/")[0]):
                yield entry

    def _all_entries(self, prefix: str, delimiter: str, start_after: str) -> Iterator[ObjectInfo | CommonPrefix]:
        """What is listed, by key below the root and after `start_after`."""
        last, root = _sortable(start_after), len(self._prefix)
        whole_start = self._prefix + start_after if start_after else ""
        for page in self._pages(self._whole(prefix), delimiter, whole_start):
            for entry in page.entries():
                entry = CommonPrefix(entry.prefix[root:]) if isinstance(entry, CommonPrefix) else _below(entry, root)
                name = _sortable(_name(entry))
                if name > last:
                    yield entry
                    last = name
                elif name > _sortable(start_after):
                    raise self._out_of_order()

    def _out_of_order(self) -> StoreUnavailable:
        return StoreUnavailable(self.uri, "lists its keys out of order", "Use a store that sorts them.")

    def _pages(self, prefix: str, delimiter: str, start_after: str) -> Iterator[ListingPage]:
        token: str | None = ""
        while token is not None:
            request = partial(list_page, self._bucket, prefix, delimiter, start_after, token)
            with self._store_errors("s3:ListBucket"):
                page = ask(self._bucket, request)
            yield page
            if page.next_token and page.next_token == token:
                raise StoreUnavailable(self.uri, "gives the same page again", "Use a store whose listing has pages.")
            token = page.next_token or None

    def head(self, key: str) -> ObjectInfo:
        import obstore

        whole = self._readable(key)
        with self._object_errors(key):
            meta = ask(self._bucket, lambda clients: obstore.head(clients.data, whole))
        return ObjectInfo(key, meta["size"], (meta["e_tag"] or "").strip('"'), meta["last_modified"])

    def get(self, key: str, *, start: int = 0, length: int | None = None, etag: str | None = None) -> bytes:
        if start < 0 or (length is not None and length < 0):
            raise ValueError(f"a range cannot start at {start} with length {length}")
        whole, item = self._readable(key), self.uri_of(key)
        if length == 0:
            return self._nothing(key, etag)
        with self._object_errors(key, etag):
            if start == 0 and length is None:
                return read_whole(self._bucket, whole, item, etag)
            return b"".join(read(self._bucket, whole, item, etag, start, length))

    def stream(self, key: str, *, etag: str | None = None, chunk_bytes: int = STREAM_CHUNK_BYTES) -> Iterator[bytes]:
        whole, item = self._readable(key), self.uri_of(key)
        with self._object_errors(key, etag):
            yield from rechunked(read(self._bucket, whole, item, etag, 0, None), chunk_bytes)

    def read_into(
        self, key: str, file: PositionedFile, *, etag: str | None = None, digests: Sequence[Digest] = ()
    ) -> int:
        whole, item = self._readable(key), self.uri_of(key)
        with self._object_errors(key, etag):
            return read_into(self._bucket, whole, item, etag, file, digests)

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        return open_reader(self, key, etag)

    def local_path(self, key: str) -> Path | None:
        return None

    def put(self, key: str, data: bytes | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        check_key(key)
        is_whole = isinstance(data, bytes | bytearray | memoryview)
        parts = rechunked(cast("Iterable[bytes]", (data,) if is_whole else data), PART_BYTES)
        first, second = next(parts, b""), next(parts, None)
        if if_absent and not self.conditional_put and self._exists(key):
            raise _taken(self.uri_of(key))
        if second is None:
            return self._put_whole(key, first, if_absent=if_absent and self.conditional_put)
        with self._multipart(key) as upload:
            for number, part in enumerate(itertools.chain((first, second), parts), start=1):
                if number > MAX_PART_NUMBER:
                    cause = f"is larger than {MAX_PART_NUMBER} parts of {PART_BYTES} bytes"
                    raise StoreError(self.uri_of(key), cause, "Cut it into smaller objects.")
                upload.write_part(number, part)
            return upload.complete(if_absent=if_absent and self.conditional_put)

    def multipart(self, key: str) -> MultipartUpload:
        check_key(key)
        return self._multipart(key)

    @property
    def uploads(self) -> S3Uploads:
        send, typed = partial(call, self._bucket), partial(store_error, store=self.uri, action="s3:PutObject")
        return S3Uploads(send, self._bucket, self._prefix, self.uri_of, self.head, typed)

    def copy(self, source_key: str, key: str) -> ObjectInfo:
        check_key(key)
        source = self.head(source_key)
        target = {"Bucket": self._bucket, "Key": self._prefix + key}
        origin = {
            "CopySource": {"Bucket": self._bucket, "Key": self._prefix + source_key},
            "CopySourceIfMatch": f'"{source.etag}"',
        }
        if source.size_bytes > COPY_PART_BYTES:
            return self._copy_in_parts(origin, source, key)
        # An object can be copied onto itself only if something about it is said anew.
        directive = {"MetadataDirective": "REPLACE"} if key == source_key else {}
        with self._object_errors(source_key, source.etag):
            answer = call(self._bucket, "copy_object", **target, **origin, **directive)
        return self._published(key, answer["CopyObjectResult"]["ETag"].strip('"'), source.size_bytes)

    def delete(self, key: str) -> None:
        check_key(key)
        self._delete(key)

    def sweep(self) -> int:
        before = datetime.now(UTC) - STALE
        try:
            stale = [upload for upload in self._uploads() if upload["Initiated"] < before]
            for upload in stale:
                target = {"Bucket": self._bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                call(self._bucket, "abort_multipart_upload", **target)
            dead = [info.key for info in self.list_hidden(f"{HIDDEN_FOLDER}/locks/") if info.last_modified < before]
            for key in dead:
                self._delete(key)
        except (S3Fault, StoreUnavailable) as fault:
            # Housekeeping that is not permitted, or that a compatible server does not know, stops no run.
            _logger.warning("%s: uploads that dead writers left could not be removed: %s", self.uri, fault)
            return 0
        return len(stale) + len(dead)

    def lock(self, name: str, *, timeout_s: float) -> AbstractContextManager[None]:
        return hold_claim(_Claims(self), self.uri, name, timeout_s)

    def put_hidden(self, key: str, data: bytes) -> None:
        """Publishes an object in the store's own folder."""
        self._send_whole(key, data, if_absent=False)

    def list_hidden(self, prefix: str) -> Iterator[ObjectInfo]:
        """Lists the store's own folder."""
        return (entry for entry in self._all_entries(prefix, "", "") if isinstance(entry, ObjectInfo))

    def delete_hidden(self, key: str) -> None:
        """Removes from the store's own folder."""
        self._delete(key)

    def _whole(self, key: str) -> str:
        """The key in the bucket.

        Raises:
            InvalidKey: it is not Unicode.
        """
        self.uri_of(key)
        return self._prefix + key

    def _readable(self, key: str) -> str:
        """The key in the bucket of an object that can be read; wider than `check_key`."""
        fault = segment_fault(key)
        if not fault and _CONTROL.search(key):
            fault = "holds a control character, which obstore cannot ask for"
        if fault:
            raise InvalidKey(f"key '{printable_key(key)}'", fault, "Take keys from a listing of the store.")
        return self._whole(key)

    def _nothing(self, key: str, etag: str | None) -> bytes:
        info = self.head(key)
        if etag is not None and info.etag != etag:
            raise object_changed(self.uri_of(key), info.etag, etag)
        return b""

    def _put_whole(self, key: str, data: bytes, *, if_absent: bool) -> ObjectInfo:
        return self._published(key, self._send_whole(key, data, if_absent=if_absent), len(data))

    def _send_whole(self, key: str, data: bytes, *, if_absent: bool) -> str:
        """Puts an object in one request; returns its etag."""
        import obstore

        mode: Any = "create" if if_absent else "overwrite"
        whole = self._prefix + key
        with self._put_errors(key):
            answer = ask(
                self._bucket, lambda clients: obstore.put(clients.data, whole, data, mode=mode, use_multipart=False)
            )
        return (answer["e_tag"] or "").strip('"')

    def _multipart(self, key: str) -> S3MultipartUpload:
        target = {"Bucket": self._bucket, "Key": self._prefix + key}

        def send(method: str, **arguments: Any) -> Any:
            with self._put_errors(key):
                return call(self._bucket, method, **arguments)

        return S3MultipartUpload(send, self.uri_of(key), target, partial(self._published, key))

    def _copy_in_parts(self, origin: dict[str, Any], source: ObjectInfo, key: str) -> ObjectInfo:
        def copy(**part: Any) -> Any:
            with self._object_errors(source.key, source.etag):
                return call(self._bucket, "upload_part_copy", **origin, **part)

        with self._multipart(key) as upload:
            for number, start in enumerate(range(0, source.size_bytes, COPY_PART_BYTES), start=1):
                upload.copy_part(number, copy, range(start, min(start + COPY_PART_BYTES, source.size_bytes)))
            return upload.complete()

    def _published(self, key: str, etag: str, size_bytes: int) -> ObjectInfo:
        """The info of the version just published; its time from S3's own clock, if it is still there to be asked."""
        with contextlib.suppress(ObjectNotFound, ObjectUnreadable):
            info = self.head(key)
            if info.etag == etag:
                return info
        return ObjectInfo(key, size_bytes, etag, datetime.now(UTC))

    def _exists(self, key: str) -> bool:
        try:
            self.head(key)
        except ObjectNotFound:
            return False
        return True

    def _delete(self, key: str) -> None:
        with self._store_errors("s3:DeleteObject"):
            call(self._bucket, "delete_object", Bucket=self._bucket, Key=self._prefix + key)

    def _uploads(self) -> Iterator[dict[str, Any]]:
        request: dict[str, str] = {"Bucket": self._bucket, "Prefix": self._prefix}
        while True:
            page = call(self._bucket, "list_multipart_uploads", **request)
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            request |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    @contextlib.contextmanager
    def _store_errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except S3Fault as fault:
            raise store_error(fault, self.uri, action) from None

    @contextlib.contextmanager
    def _object_errors(self, key: str, etag: str | None = None) -> Iterator[None]:
        try:
            yield
        except S3Fault as fault:
            if not is_condition(fault):
                raise object_error(fault, self.uri_of(key), self.uri, "s3:GetObject") from None
            raise object_changed(self.uri_of(key), self.head(key).etag, etag or "the one first read") from None

    @contextlib.contextmanager
    def _put_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except S3Fault as fault:
            if is_condition(fault):
                raise _taken(self.uri_of(key)) from None
            raise store_error(fault, self.uri, "s3:PutObject") from None


@dataclass(frozen=True)
class _Claims(Claims):
    """The claims of a store's locks: objects in its own folder."""

    store: S3Store

    def put(self, key: str, data: bytes) -> None:
        self.store.put_hidden(key, data)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self.store.list_hidden(prefix)

    def delete(self, key: str) -> None:
        self.store.delete_hidden(key)


@lru_cache(maxsize=64)
def _keeps_conditions(bucket: str, prefix: str) -> bool:
    """Whether the server refuses to create what is there; some that speak S3 write all the same."""
    import obstore

    key = f"{prefix}{HIDDEN_FOLDER}/conditional-put"
    for _ in range(2):
        try:
            ask(bucket, lambda clients: obstore.put(clients.data, key, b"", mode="create", use_multipart=False))
        except S3Fault as fault:
            if is_condition(fault) or fault.status == 501:
                return is_condition(fault)
            raise
    return False


def _taken(item: str) -> ObjectExists:
    return ObjectExists(item, "exists already")


def _name(entry: ObjectInfo | CommonPrefix) -> str:
    return entry.prefix if isinstance(entry, CommonPrefix) else entry.key


def _sortable(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _all_sortable(names: list[str]) -> list[bytes]:
    """As `_sortable` of each, at less cost where all are ASCII, as most are."""
    text = "\n".join(names)
    return text.encode().split(b"\n") if text.isascii() and text.count("\n") < len(names) else [*map(_sortable, names)]


def _below(info: ObjectInfo, root: int) -> ObjectInfo:
    """The object by its key below the store's root."""
    return ObjectInfo(info.key[root:], info.size_bytes, info.etag, info.last_modified) if root else info

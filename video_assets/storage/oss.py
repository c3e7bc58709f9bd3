"""`oss://<endpoint>/<bucket>/<prefix>`: a store in a bucket of Alibaba OSS.

- The etag is OSS's own: the MD5 of an object put at once, so the same bytes put again are the same version.
- OSS keeps times in whole seconds.
- Puts are atomic by nature. What is larger than `PART_BYTES` goes up in parts, and appears when all are there.
- `if_absent` is `x-oss-forbid-overwrite`, which OSS ignores in a bucket with versioning: there, check and write are
  two steps (`conditional_put`).
- Listing needs the permission oss:ListObjects, reading oss:GetObject; nothing is ever written by either.
- An endpoint is a door, not part of what an object is: `key_of` takes a URI of this bucket through any endpoint.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

from video_assets.storage.listing_page import ListingPage
from video_assets.storage.object_keys import HIDDEN_FOLDER, check_key, is_hidden, printable_key
from video_assets.storage.object_reader import open_reader
from video_assets.storage.object_store import (
    STREAM_CHUNK_BYTES,
    CommonPrefix,
    Digest,
    InvalidKey,
    InvalidUri,
    ObjectExists,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    object_changed,
)
from video_assets.storage.oss_client import OssConnection, connection
from video_assets.storage.oss_errors import code_of, store_errors
from video_assets.storage.oss_listing import list_pages
from video_assets.storage.oss_lock import OssLock
from video_assets.storage.oss_multipart import OssMultipartUpload, OssPart, abort_dead_uploads
from video_assets.storage.oss_read import OssObjectReader
from video_assets.storage.oss_uploads import OssUploads
from video_assets.storage.oss_uri import OssPlace, parse_oss_uri
from video_assets.storage.positioned_file import PositionedFile
from video_assets.storage.prefix_rollup import roll_up

PART_BYTES = 16 * 1024 * 1024
"""What a put sends at once; as 10,000 parts it is an object of 160 GB."""

MAX_OSS_KEY_BYTES = 1023
"""OSS's own limit for a whole key, the store's prefix included."""

MAX_COPY_BYTES = 1024**3
"""What OSS copies in one request; a larger object goes through this machine."""

_WRITER = "writer"
"""The object metadata by which a put that was tried twice knows its own object."""


class OssStore(ObjectStore):
    """The keys below a place in a bucket. Nothing is asked of OSS before the first use."""

    def __init__(self, place: OssPlace) -> None:
        self._place = place
        self._root = f"{place.path}/" if place.path else ""

    def __repr__(self) -> str:
        return f"OssStore({self.uri!r})"

    def __reduce__(self) -> tuple[type[OssStore], tuple[OssPlace]]:
        return OssStore, (self._place,)

    @property
    def uri(self) -> str:
        return self._place.uri

    @functools.cached_property
    def conditional_put(self) -> bool:
        from alibabacloud_oss_v2 import GetBucketVersioningRequest
        from alibabacloud_oss_v2.exceptions import BaseError

        with store_errors(self._place, self.uri):
            try:
                said = self._client.get_bucket_versioning(GetBucketVersioningRequest(self._place.bucket))
            except BaseError as error:
                if code_of(error) == "AccessDenied":
                    return False
                raise
        return not said.version_status

    def uri_of(self, key: str) -> str:
        return self._place.uri_of(self._root + key)

    def key_of(self, uri: str) -> str | None:
        try:
            named = parse_oss_uri(uri, uri)
        except InvalidUri:
            return None
        is_below = named.bucket == self._place.bucket and named.path.startswith(self._root)
        return named.path.removeprefix(self._root) or None if is_below else None

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        root = len(self._root)
        for page in self._pages(prefix, "", start_after):
            infos = [_named(info, info.key[root:]) for info in page.objects] if root else page.objects
            yield from (i for i in infos if i.key and not (i.key[0] == "." and is_hidden(i.key.partition("/")[0])))

    def list_level(
        self, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        if len(delimiter) == 1:
            return self._entries(prefix, delimiter, start_after)
        return roll_up(self.list(prefix, start_after=start_after), prefix, delimiter, start_after)

    def head(self, key: str) -> ObjectInfo:
        from alibabacloud_oss_v2 import HeadObjectRequest

        with store_errors(self._place, self.uri_of(key)):
            said = self._client.head_object(HeadObjectRequest(self._place.bucket, self._full(key)))
        return ObjectInfo(key, said.content_length, said.etag.strip('"'), said.last_modified.astimezone(UTC))

    def get(self, key: str, *, start: int = 0, length: int | None = None, etag: str | None = None) -> bytes:
        if start < 0 or (length is not None and length < 0):
            raise ValueError(f"a range cannot start at {start} with length {length}")
        if length == 0:
            self._check_version(key, etag)
            return b""
        if start == 0 and length is None:
            return self._reader(key, etag).whole()
        return self._reader(key, etag).range(start, length)

    def stream(self, key: str, *, etag: str | None = None, chunk_bytes: int = STREAM_CHUNK_BYTES) -> Iterator[bytes]:
        yield from self._reader(key, etag).stream(chunk_bytes)

    def read_into(
        self, key: str, file: PositionedFile, *, etag: str | None = None, digests: Sequence[Digest] = ()
    ) -> int:
        return self._reader(key, etag).into(file, digests)

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        return open_reader(self, key, etag)

    def local_path(self, key: str) -> Path | None:
        return None

    def put(self, key: str, data: bytes | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        full_key = self._writable(key)
        parts = _parts(data)
        first = next(parts, b"")
        second = next(parts, None)
        if if_absent and not self.conditional_put:
            self._refuse_taken(key)
        if second is None:
            return self._put_at_once(key, full_key, first, if_absent=if_absent)
        with self._upload(key, if_absent=if_absent) as upload:
            for number, part in enumerate(itertools.chain((first, second), parts), start=1):
                upload.write_part(number, part)
            return upload.complete()

    def multipart(self, key: str) -> OssMultipartUpload:
        return self._upload(key, if_absent=False)

    def resume_multipart(self, key: str, upload_id: str) -> OssMultipartUpload:
        """Takes up an upload that another process has left, by the `upload_id` of what `multipart` gave it.

        Raises:
            ObjectNotFound: OSS knows no such upload of this key: it was completed, aborted or swept.
        """
        return self._upload(key, if_absent=False, upload_id=upload_id)

    @property
    def uploads(self) -> OssUploads:
        def upload(key: str, upload_id: str | None, known: dict[int, OssPart] | None) -> OssMultipartUpload:
            return self._upload(key, if_absent=False, upload_id=upload_id, known=known)

        return OssUploads(lambda: self._connection, self._place, self._writable, upload, self.head)

    def copy(self, source_key: str, key: str) -> ObjectInfo:
        from alibabacloud_oss_v2 import CopyObjectRequest, HeadObjectRequest

        full_key, source = self._writable(key), self._full(source_key)
        with store_errors(self._place, self.uri_of(source_key)):
            found = self._client.head_object(HeadObjectRequest(self._place.bucket, source))
            if found.content_length <= MAX_COPY_BYTES and found.object_type != "Appendable":
                asked = CopyObjectRequest(self._place.bucket, full_key, source_key=source, if_match=found.etag)
                said = self._client.copy_object(asked)
                return self._published(key, said.etag, found.content_length, said)
        return self.put(key, self.stream(source_key, etag=found.etag.strip('"')))

    def delete(self, key: str) -> None:
        from alibabacloud_oss_v2 import DeleteObjectRequest

        full_key = self._writable(key)
        with store_errors(self._place, self.uri_of(key)):
            self._client.delete_object(DeleteObjectRequest(self._place.bucket, full_key))

    def sweep(self) -> int:
        return abort_dead_uploads(self._connection, self._place)

    def lock(self, name: str, *, timeout_s: float) -> AbstractContextManager[None]:
        return OssLock(self._connection, self._place, name).held(timeout_s)

    @property
    def _connection(self) -> OssConnection:
        return connection(self._place.endpoint)

    @property
    def _client(self) -> Any:
        return self._connection.client

    def _writable(self, key: str) -> str:
        return self._full(check_key(key))

    def _full(self, key: str) -> str:
        """The bucket's own key; wider than `check_key`, as a source holds whatever others put there.

        Raises:
            InvalidKey: one that OSS cannot hold, or that an HTTP client would turn into another.
        """
        full_key = self._root + key
        fault = _fault(key, full_key)
        if fault:
            raise InvalidKey(f"key '{printable_key(key)}'", fault, "Take keys from a listing of the store.")
        return full_key

    def _pages(self, prefix: str, delimiter: str, start_after: str) -> Iterator[ListingPage]:
        try:
            start_after.encode(), prefix.encode()
        except UnicodeEncodeError:
            cause = "is not valid Unicode, and OSS keys are"
            raise InvalidKey(f"prefix '{printable_key(prefix)}'", cause, "Correct the prefix.") from None
        first = self._root + start_after if start_after else ""
        return list_pages(self._connection, self._place, self._root + prefix, delimiter=delimiter, start_after=first)

    def _entries(self, prefix: str, delimiter: str, start_after: str) -> Iterator[ObjectInfo | CommonPrefix]:
        """Entries of the store, with keys of its own. OSS names a common prefix again that `start_after` is in."""
        root, after = len(self._root), start_after.encode(errors="replace")
        for page in self._pages(prefix, delimiter, start_after):
            for entry in page.entries():
                name = (entry.prefix if isinstance(entry, CommonPrefix) else entry.key)[root:]
                if name and not is_hidden(name.partition("/")[0]) and name.encode() > after:
                    yield CommonPrefix(name) if isinstance(entry, CommonPrefix) else _named(entry, name)

    def _reader(self, key: str, etag: str | None) -> OssObjectReader:
        return OssObjectReader(self._connection, self._place, self._full(key), self.uri_of(key), etag)

    def _check_version(self, key: str, etag: str | None) -> None:
        found = self.head(key).etag
        if etag not in (None, found):
            raise object_changed(self.uri_of(key), found, str(etag))

    def _refuse_taken(self, key: str) -> None:
        with contextlib.suppress(ObjectNotFound):
            self.head(key)
            raise ObjectExists(self.uri_of(key), "exists already")

    def _put_at_once(self, key: str, full_key: str, data: bytes, *, if_absent: bool) -> ObjectInfo:
        from alibabacloud_oss_v2 import PutObjectRequest
        from alibabacloud_oss_v2.exceptions import BaseError

        writer = {_WRITER: uuid.uuid4().hex} if if_absent else None
        asked = PutObjectRequest(
            self._place.bucket, full_key, body=data, metadata=writer, forbid_overwrite="true" if if_absent else None
        )
        with store_errors(self._place, self.uri_of(key)):
            try:
                said = self._client.put_object(asked)
            except BaseError as error:
                if code_of(error) != "FileAlreadyExists" or not self._wrote(full_key, writer):
                    raise
                return self.head(key)
        return self._published(key, said.etag, len(data), said)

    def _wrote(self, full_key: str, writer: dict[str, str] | None) -> bool:
        """Whether the object in the way is our own: put by a try whose answer was lost."""
        from alibabacloud_oss_v2 import HeadObjectRequest

        found = self._client.head_object(HeadObjectRequest(self._place.bucket, full_key))
        return writer is not None and dict(found.metadata or {}).get(_WRITER) == writer[_WRITER]

    def _published(self, key: str, etag: str, size_bytes: int, said: Any) -> ObjectInfo:
        """The entry of an object just written. OSS says its time at a HEAD only."""
        etag = etag.strip('"')
        with contextlib.suppress(ObjectNotFound):
            found = self.head(key)
            if found.etag == etag:
                return found
        # Overwritten or deleted before the HEAD; the object that was put had the time of its answer.
        return ObjectInfo(key, size_bytes, etag, parsedate_to_datetime(said.headers["Date"]))

    def _upload(
        self,
        key: str,
        *,
        if_absent: bool,
        upload_id: str | None = None,
        known: dict[int, OssPart] | None = None,
    ) -> OssMultipartUpload:
        full_key, item = self._writable(key), self.uri_of(key)
        return OssMultipartUpload(
            self._connection,
            self._place,
            full_key,
            item,
            if_absent=if_absent,
            published=functools.partial(self._published, key),
            upload_id=upload_id,
            known=known,
        )


def _named(info: ObjectInfo, key: str) -> ObjectInfo:
    return ObjectInfo(key, info.size_bytes, info.etag, info.last_modified)


def _parts(data: bytes | Iterable[bytes]) -> Iterator[bytes]:
    """The bytes in pieces of `PART_BYTES`, the last may be shorter; no more than one piece is held."""
    held = bytearray()
    for chunk in (data,) if isinstance(data, bytes | bytearray | memoryview) else data:
        rest = memoryview(chunk).cast("B")
        while rest:
            room = PART_BYTES - len(held)
            held += rest[:room]
            rest = rest[room:]
            if len(held) == PART_BYTES:
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)


def _fault(key: str, full_key: str) -> str:
    """Why OSS cannot hold or reach a key, or an empty string."""
    segments = key.split("/")
    if not key or full_key.startswith(("/", "\\")):
        return "is empty or begins with '/'"
    if "." in segments or ".." in segments:
        return "has '.' or '..' for a segment"
    if is_hidden(segments[0]):
        return f"lies in the store's own folder '{HIDDEN_FOLDER}/'"
    try:
        size = len(full_key.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode, and OSS keys are"
    return f"is longer than {MAX_OSS_KEY_BYTES} bytes with the store's prefix" if size > MAX_OSS_KEY_BYTES else ""

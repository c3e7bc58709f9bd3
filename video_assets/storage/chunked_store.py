"""A stream of chunks as a store of one object: the video whose bytes the chunks are, read only.

Its URI is that of the stream's `metadata.json`, and the object's key is the video's name, so that a video has the URI
`s3://bucket/prefix/<stream_id>/metadata.json/veh-1/2026-01-03/front/083000.mp4`. See `chunk_metadata` for the format.

A whole read (`stream`) verifies each chunk's SHA-256; reads of ranges verify that chunks have the size that is listed
and do not change while they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from video_assets.storage.chunk_metadata import (
    MAX_METADATA_BYTES,
    StreamFault,
    StreamMetadata,
    parse_metadata,
)
from video_assets.storage.object_reader import open_reader
from video_assets.storage.object_store import (
    STREAM_CHUNK_BYTES,
    CommonPrefix,
    InvalidKey,
    MultipartUpload,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    object_changed,
)
from video_assets.storage.part_uploads import PartUploads
from video_assets.storage.prefix_rollup import roll_up
from video_assets.storage.stream_keys import METADATA, chunk_name


def read_metadata(home: ObjectStore, key: str) -> tuple[ObjectInfo, StreamMetadata]:
    """The metadata.json at `key`, and what it says, checked.

    Raises:
        ObjectNotFound: there is none.
        StreamFault: it cannot be used.
    """
    info, item = home.head(key), home.uri_of(key)
    if info.size_bytes > MAX_METADATA_BYTES:
        raise StreamFault(item, f"has {info.size_bytes} bytes, and at most {MAX_METADATA_BYTES} are read")
    return info, parse_metadata(home.get(key, length=MAX_METADATA_BYTES, etag=info.etag), item)


class ChunkedStore(ObjectStore):
    """The stream whose metadata is at `metadata_key` of `home`.

    What the metadata gets wrong, and a stream that is not complete, raises `StreamFault` at every read.
    """

    conditional_put = False

    def __init__(self, home: ObjectStore, metadata_key: str) -> None:
        self._home, self._key = home, metadata_key
        self._known: StreamMetadata | None = None
        self._chunk_etags: dict[int, str] = {}

    def __repr__(self) -> str:
        return f"ChunkedStore({self.uri!r})"

    @property
    def uri(self) -> str:
        return self._home.uri_of(self._key)

    def uri_of(self, key: str) -> str:
        return self._home.uri_of(f"{self._key}/{key}")

    def key_of(self, uri: str) -> str | None:
        key = self._home.key_of(uri)
        return key.removeprefix(f"{self._key}/") if key is not None and key.startswith(f"{self._key}/") else None

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        info = self._head()
        if info.key.startswith(prefix) and info.key.encode() > start_after.encode("utf-8", "surrogateescape"):
            yield info

    def list_level(
        self, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        yield from roll_up(self.list(prefix, start_after=start_after), prefix, delimiter, start_after)

    def head(self, key: str) -> ObjectInfo:
        info = self._head()
        if info.key != key:
            raise ObjectNotFound(self.uri_of(key), f"does not exist; the stream is of {info.key}", "List it again.")
        return info

    def get(self, key: str, *, start: int = 0, length: int | None = None, etag: str | None = None) -> bytes:
        if start < 0 or (length is not None and length < 0):
            raise ValueError(f"a range cannot start at {start} with length {length}")
        metadata = self._version(key, etag)
        end = metadata.size_bytes if length is None else min(start + length, metadata.size_bytes)
        pieces = []
        while start < end:
            number, begin = divmod(start, metadata.chunk_bytes)
            wanted = min(metadata.chunks[number].size_bytes - begin, end - start)
            pieces.append(self._range(metadata, number, begin, wanted))
            start += wanted
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def stream(self, key: str, *, etag: str | None = None, chunk_bytes: int = STREAM_CHUNK_BYTES) -> Iterator[bytes]:
        metadata = self._version(key, etag)
        rest = b""
        for number in range(len(metadata.chunks)):
            for piece in self._whole_chunk(metadata, number, chunk_bytes):
                rest += piece
                while len(rest) >= chunk_bytes:
                    yield rest[:chunk_bytes]
                    rest = rest[chunk_bytes:]
        if rest:
            yield rest

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        return open_reader(self, key, etag)

    def local_path(self, key: str) -> Path | None:
        return None

    def _head(self) -> ObjectInfo:
        info, metadata = read_metadata(self._home, self._key)
        if not metadata.complete:
            cause = metadata.fault or "its upload is under way, or was given up"
            raise StreamFault(self.uri, f"is of a stream that is not complete: {cause}", "Finish the upload.")
        if self._known is None or self._known.etag != metadata.etag:
            self._known, self._chunk_etags = metadata, {}
        return ObjectInfo(metadata.name, metadata.size_bytes, metadata.etag, info.last_modified)

    def _version(self, key: str, etag: str | None) -> StreamMetadata:
        known = self._known
        if known is None or etag is None or (known.name, known.etag) != (key, etag):
            info, known = self.head(key), self._known
            if etag is not None and info.etag != etag:
                raise object_changed(self.uri_of(key), info.etag, etag)
        assert known is not None
        return known

    def _range(self, metadata: StreamMetadata, number: int, start: int, length: int) -> bytes:
        data = self._home.get(
            self._chunk_key(number), start=start, length=length, etag=self.check_chunk(metadata, number)
        )
        if len(data) != length:
            raise self._fault(number, f"gave {len(data)} of {length} bytes at {start}")
        return data

    def _whole_chunk(self, metadata: StreamMetadata, number: int, chunk_bytes: int) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in self._home.stream(
            self._chunk_key(number), etag=self.check_chunk(metadata, number), chunk_bytes=chunk_bytes
        ):
            digest.update(piece)
            yield piece
        if digest.hexdigest() != metadata.chunks[number].sha256:
            raise self._fault(number, f"has the SHA-256 {digest.hexdigest()}, and its metadata says another")

    def check_chunk(self, metadata: StreamMetadata, number: int) -> str:
        """The version of a chunk, which has the size that is listed; it is looked at once.

        Raises:
            StreamFault: it is not there, or has another size.
        """
        if (etag := self._chunk_etags.get(number)) is not None:
            return etag
        try:
            info = self._home.head(self._chunk_key(number))
        except ObjectNotFound:
            raise self._fault(number, "is not there") from None
        if info.size_bytes != metadata.chunks[number].size_bytes:
            listed = metadata.chunks[number].size_bytes
            raise self._fault(number, f"has {info.size_bytes} bytes, and its metadata says {listed}")
        self._chunk_etags[number] = info.etag
        return info.etag

    def _chunk_key(self, number: int) -> str:
        return self._key.removesuffix(METADATA) + chunk_name(number)

    def _fault(self, number: int, cause: str) -> StreamFault:
        return StreamFault(self._home.uri_of(self._chunk_key(number)), cause, "Upload the file again.")

    # What only reads cannot do.

    def put(self, key: str, data: bytes | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        raise self._read_only(key)

    def multipart(self, key: str) -> MultipartUpload:
        raise self._read_only(key)

    @property
    def uploads(self) -> PartUploads:
        raise self._read_only("")

    def copy(self, source_key: str, key: str) -> ObjectInfo:
        raise self._read_only(key)

    def delete(self, key: str) -> None:
        raise self._read_only(key)

    def sweep(self) -> int:
        return 0

    def lock(self, name: str, *, timeout_s: float) -> AbstractContextManager[None]:
        raise self._read_only(name)

    def _read_only(self, key: str) -> InvalidKey:
        return InvalidKey(self.uri_of(key), "is of a stream of chunks, which is only read", "Use another store.")

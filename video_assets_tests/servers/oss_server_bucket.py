"""What the OSS test server keeps: objects, uploads in parts, and listings, in memory."""

from __future__ import annotations

import bisect
import hashlib
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import crcmod

from video_assets_tests.servers.oss_server_errors import OssError

MIN_PART_BYTES = 100 * 1024
"""What OSS asks of every part but the last."""

_crc64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, rev=True, xorOut=0xFFFFFFFFFFFFFFFF)


def crc64(data: bytes) -> str:
    """CRC-64/XZ (ECMA-182), as OSS writes it in `x-oss-hash-crc64ecma`."""
    return str(_crc64(data))


def md5_etag(data: bytes) -> str:
    """The etag of an object put in one request, without quotes."""
    return hashlib.md5(data).hexdigest().upper()


@dataclass(frozen=True)
class StoredObject:
    """One object as it is now. `headers` are those given at its writing and returned at each read."""

    data: bytes
    etag: str
    modified_at: datetime
    kind: str = "Normal"
    headers: dict[str, str] = field(default_factory=dict)
    crc: str = ""

    @classmethod
    def of(cls, data: bytes, headers: dict[str, str], *, etag: str = "", kind: str = "Normal") -> StoredObject:
        """An object written now; OSS keeps whole seconds."""
        return cls(data, etag or md5_etag(data), now(), kind, headers, crc64(data))


@dataclass
class Upload:
    """One upload in parts. `parts` holds bytes, etag and time by number."""

    key: str
    headers: dict[str, str]
    initiated_at: datetime
    parts: dict[int, tuple[bytes, str, datetime]] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """One page of a listing: keys and common prefixes in their order, and the name that the next page comes after."""

    keys: list[str]
    prefixes: list[str]
    next_after: bytes | None


def now() -> datetime:
    """The present second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


class Bucket:
    """The objects of one bucket. Every method is one atomic step.

    Attributes:
        versioning: "", "Enabled" or "Suspended"; unless empty, OSS ignores `x-oss-forbid-overwrite`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.versioning = ""
        self.uploads: dict[str, Upload] = {}
        self._objects: dict[bytes, StoredObject] = {}
        self._order: list[bytes] = []
        self._lock = threading.RLock()

    def get(self, key: str) -> StoredObject:
        """The object, or the error that OSS answers."""
        with self._lock:
            found = self._objects.get(key.encode())
        if found is None:
            raise OssError(404, "NoSuchKey", "The specified key does not exist.", "0026-00000001", {"Key": key})
        return found

    def put(self, key: str, stored: StoredObject, *, forbid_overwrite: bool) -> StoredObject:
        """Publishes an object."""
        name = key.encode()
        if not 1 <= len(name) <= 1023 or key[0] in "/\\":
            raise OssError(400, "InvalidObjectName", "The specified object is not valid.")
        with self._lock:
            if name in self._objects:
                if forbid_overwrite and not self.versioning:
                    message = "The object you specified already exists and can not be overwritten."
                    raise OssError(409, "FileAlreadyExists", message, "0026-00000002")
            else:
                bisect.insort(self._order, name)
            self._objects[name] = stored
        return stored

    def append(self, key: str, data: bytes, position: int, headers: dict[str, str]) -> StoredObject:
        """Appends at `position`, which must be the object's length."""
        with self._lock:
            old = self._objects.get(key.encode())
            if old is not None and old.kind != "Appendable":
                raise OssError(409, "ObjectNotAppendable", "The object is not appendable", "0026-00000021")
            length = len(old.data) if old else 0
            if position != length:
                said = {"x-oss-next-append-position": str(length)}
                message = "Position is not equal to file length"
                raise OssError(409, "PositionNotEqualToLength", message, "0026-00000023", headers=said)
            joined = (old.data if old else b"") + data
            return self.put(
                key, StoredObject.of(joined, old.headers if old else headers, kind="Appendable"), forbid_overwrite=False
            )

    def delete(self, key: str) -> None:
        """Removes the object, if there is one."""
        with self._lock:
            if self._objects.pop(key.encode(), None) is not None:
                del self._order[bisect.bisect_left(self._order, key.encode())]

    def page(self, prefix: str, delimiter: str, after: bytes, max_keys: int) -> Page:
        """Names with `prefix` that sort after `after`, those that hold `delimiter` beyond it rolled up."""
        with self._lock:
            page, last = Page([], [], None), after
            for name, is_common in self._entries(prefix.encode(), delimiter.encode(), after):
                if len(page.keys) + len(page.prefixes) == max_keys:
                    return replace(page, next_after=last)
                (page.prefixes if is_common else page.keys).append(name.decode())
                last = name + b"\xff" if is_common else name
            return page

    def _entries(self, prefix: bytes, delimiter: bytes, after: bytes) -> Iterator[tuple[bytes, bool]]:
        """Each entry, and whether it is a common prefix."""
        place = max(bisect.bisect_right(self._order, after), bisect.bisect_left(self._order, prefix))
        while place < len(self._order) and self._order[place].startswith(prefix):
            name = self._order[place]
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, b"", b"")
            if found:
                yield prefix + head + found, True
                # No UTF-8 holds the byte FF: it sorts after all that lies below.
                place = bisect.bisect_left(self._order, prefix + head + found + b"\xff")
            else:
                yield name, False
                place += 1

    def initiate(self, key: str, headers: dict[str, str]) -> str:
        """Begins an upload in parts; returns its id."""
        upload_id = uuid.uuid4().hex.upper()
        with self._lock:
            self.uploads[upload_id] = Upload(key, headers, now())
        return upload_id

    def upload(self, key: str, upload_id: str) -> Upload:
        """An upload under way, or the error that OSS answers."""
        with self._lock:
            found = self.uploads.get(upload_id)
        if found is None or found.key != key:
            raise OssError(404, "NoSuchUpload", "The specified upload does not exist.", "0042-00000311")
        return found

    def write_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """Keeps one part; returns its etag."""
        if not 1 <= number <= 10_000:
            raise OssError(400, "InvalidArgument", "Part number must be an integer between 1 and 10000.")
        etag = md5_etag(data)
        self.upload(key, upload_id).parts[number] = (data, etag, now())
        return etag

    def complete(
        self, key: str, upload_id: str, said: Sequence[tuple[int, str]], *, forbid_overwrite: bool
    ) -> StoredObject:
        """Publishes the parts that the client names, in its order."""
        with self._lock:
            upload = self.upload(key, upload_id)
            numbers = [number for number, _ in said]
            if not numbers or numbers != sorted(set(numbers)):
                raise OssError(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
            for number, etag in said:
                if number not in upload.parts or upload.parts[number][1] != etag:
                    raise OssError(400, "InvalidPart", "One or more of the specified parts could not be found.")
            chosen = [upload.parts[number] for number in numbers]
            if any(len(data) < MIN_PART_BYTES for data, *_ in chosen[:-1]):
                raise OssError(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size.")
            digest = hashlib.md5(b"".join(bytes.fromhex(etag) for _, etag, _ in chosen)).hexdigest().upper()
            data = b"".join(data for data, *_ in chosen)
            stored = StoredObject.of(data, upload.headers, etag=f"{digest}-{len(chosen)}", kind="Multipart")
            self.put(key, stored, forbid_overwrite=forbid_overwrite)
            del self.uploads[upload_id]
            return stored

    def abort(self, key: str, upload_id: str) -> None:
        """Drops an upload."""
        with self._lock:
            self.upload(key, upload_id)
            del self.uploads[upload_id]

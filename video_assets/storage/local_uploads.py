"""Uploads to a local store that outlive their writer: `<root>/.tmp/uploads/<id>/`.

`data` holds the parts at their places in the object, so that nothing is copied at the end; `parts/<number>` says size
and SHA-256 of each that is on the disk, and is written after it. A record that a power cut emptied is a part not sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

from video_assets.storage.local_files import unavailable_on_os_error
from video_assets.storage.local_temporary import hidden_folder
from video_assets.storage.object_keys import check_key
from video_assets.storage.object_store import MAX_PART_NUMBER, ObjectInfo, ObjectNotFound, StoreError
from video_assets.storage.part_uploads import Part, PartUpload, PartUploads, PendingUpload, UploadedPart

DEAD_AFTER = timedelta(days=7)
"""An upload without a new part for so long has no live writer."""

KIND = "sha256"
_ID = re.compile(r"[0-9a-f]{32}")
_RECORD = re.compile(r"(\d+) ([0-9a-f]{64})")


@dataclass(frozen=True)
class LocalUploads(PartUploads):
    """The uploads of one local store.

    Args:
        root: the store's folder.
        uri_of, head, get: of the store.
        publish: gives a finished file the name of a key, in one step and on the disk.
    """

    root: bytes
    uri_of: Callable[[str], str]
    head: Callable[[str], ObjectInfo]
    read: Callable[[str, int, int, str], bytes]
    publish: Callable[[bytes, str], ObjectInfo]

    min_part_bytes: ClassVar[int] = 1

    def checksum(self, data: bytes, kind: str = "") -> str:
        return f"{KIND}:{hashlib.sha256(data).hexdigest()}"

    def begin(self, key: str, *, part_bytes: int) -> PartUpload:
        check_key(key)
        upload_id = uuid.uuid4().hex
        with unavailable_on_os_error(self.uri_of(key)):
            hidden_folder(self.root)
            folder = self._folder(upload_id)
            (folder / "parts").mkdir(parents=True)
            (folder / "data").touch()
            said = {"key": key, "part_bytes": part_bytes, "begun_at": datetime.now(UTC).isoformat()}
            _write(folder / "upload.json", json.dumps(said))
        return LocalPartUpload(self, key, folder, part_bytes, {})

    def resume(
        self,
        key: str,
        upload_id: str,
        *,
        part_bytes: int,
        parts: Iterable[UploadedPart] | None = None,
        kind: str = "",
    ) -> PartUpload:
        check_key(key)
        folder = self._folder(upload_id) if _ID.fullmatch(upload_id) else None
        with unavailable_on_os_error(self.uri_of(key)):
            hidden_folder(self.root)  # a disk that is away is no upload that is gone
            said = _said(folder) if folder else None
            if folder is None or said is None or said[0] != key:
                raise ObjectNotFound(self.uri_of(key), "has no such upload under way", "Start another upload.")
            known = _recorded(folder) if parts is None else parts
            # The size it was begun with, as that says where parts lie.
            return LocalPartUpload(self, key, folder, said[1], {part.number: part for part in known})

    def pending(self, prefix: str = "") -> Iterator[PendingUpload]:
        with unavailable_on_os_error(self.uri_of(prefix or "uploads")):
            hidden_folder(self.root)
            for folder in _folders(self.root):
                said = _said(folder)
                if said and said[0].startswith(prefix):
                    begun_at = datetime.fromtimestamp((folder / "upload.json").stat().st_mtime, UTC)
                    yield PendingUpload(said[0], folder.name, begun_at)

    def confirm(self, key: str, size_bytes: int, parts: Callable[[str], Sequence[Part]]) -> ObjectInfo | None:
        try:
            found = self.head(key)
            if found.size_bytes != size_bytes:
                return None
            start = 0
            for part in parts(KIND):
                if self.checksum(self.read(key, start, part.size_bytes, found.etag)) != part.checksum:
                    return None
                start += part.size_bytes
        except ObjectNotFound:
            return None
        return found if start == size_bytes else None

    def _folder(self, upload_id: str) -> Path:
        return _uploads_folder(self.root) / upload_id


class LocalPartUpload(PartUpload):
    """One upload of a local store."""

    def __init__(
        self, uploads: LocalUploads, key: str, folder: Path, part_bytes: int, parts: dict[int, UploadedPart]
    ) -> None:
        self._uploads = uploads
        self._key = key
        self._item = uploads.uri_of(key)
        self._folder = folder
        self._part_bytes = part_bytes
        self._parts = parts
        self._guard = threading.Lock()

    @property
    def upload_id(self) -> str:
        return self._folder.name

    @property
    def kind(self) -> str:
        return KIND

    @property
    def parts(self) -> dict[int, UploadedPart]:
        with self._guard:
            return dict(self._parts)

    def send(self, number: int, data: bytes, checksum: str = "") -> UploadedPart:
        if not 1 <= number <= MAX_PART_NUMBER:
            raise ValueError(f"part number {number} is not from 1 to {MAX_PART_NUMBER}")
        digest = (checksum or self._uploads.checksum(data)).removeprefix(f"{KIND}:")
        record = self._folder / "parts" / str(number)
        with self._errors():
            record.unlink(missing_ok=True)
            with (self._folder / "data").open("r+b", buffering=0) as file:
                rest, at = memoryview(data), (number - 1) * self._part_bytes
                while rest:
                    written = os.pwrite(file.fileno(), rest, at)
                    rest, at = rest[written:], at + written
                os.fdatasync(file.fileno())
            _write(record, f"{len(data)} {digest}")
        part = UploadedPart(number, len(data), digest, f"{KIND}:{digest}")
        with self._guard:
            self._parts[number] = part
        return part

    def complete(self) -> ObjectInfo:
        parts = [part for _, part in sorted(self.parts.items())]
        if not parts:
            raise StoreError(self._item, "has no parts to publish", "Put an empty object instead.")
        whole = [part.size_bytes == self._part_bytes for part in parts[:-1]]
        if [part.number for part in parts] != list(range(1, len(parts) + 1)) or not all(whole):
            raise StoreError(self._item, "lacks parts, or has one that is too short", "Start another upload.")
        path = os.fsencode(self._folder / "data")
        with self._errors():
            if not (self._folder / "data").exists():
                return self._published_before(parts)
            with (self._folder / "data").open("r+b", buffering=0) as file:
                file.truncate(sum(part.size_bytes for part in parts))
                now = time.time_ns()
                os.utime(file.fileno(), ns=(now, now))
                os.fsync(file.fileno())
            info = self._uploads.publish(path, self._key)
        self.abort()
        return info

    def abort(self) -> None:
        with unavailable_on_os_error(self._item), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder)

    def _published_before(self, parts: list[UploadedPart]) -> ObjectInfo:
        size_bytes, sent = sum(p.size_bytes for p in parts), [Part(p.size_bytes, p.checksum) for p in parts]
        found = self._uploads.confirm(self._key, size_bytes, lambda kind: sent)
        if found is None:
            raise FileNotFoundError
        return found

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """A folder that is gone is an upload that is gone, if the store is there."""
        with unavailable_on_os_error(self._item):
            try:
                yield
            except FileNotFoundError:
                if not Path(os.fsdecode(self._uploads.root)).is_dir():
                    raise
                raise ObjectNotFound(self._item, "has no such upload under way", "Start another upload.") from None


def remove_dead_uploads(root: bytes) -> int:
    """Removes uploads without a sign of life for `DEAD_AFTER`; returns how many.

    Raises:
        OSError: the folder cannot be read.
    """
    dead = 0
    for folder in _folders(root):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            last = max(path.stat().st_mtime for path in (folder, folder / "parts"))
            if datetime.now(UTC) - datetime.fromtimestamp(last, UTC) > DEAD_AFTER:
                shutil.rmtree(folder)
                dead += 1
    return dead


def _uploads_folder(root: bytes) -> Path:
    return Path(os.fsdecode(root)) / ".tmp" / "uploads"


def _folders(root: bytes) -> list[Path]:
    try:
        return sorted(path for path in _uploads_folder(root).iterdir() if _ID.fullmatch(path.name))
    except FileNotFoundError:
        return []


def _said(folder: Path) -> tuple[str, int] | None:
    """Key and size of parts; None where there is no upload, or it has just been published."""
    try:
        said = json.loads((folder / "upload.json").read_text("utf-8"))
        return (str(said["key"]), int(said["part_bytes"])) if (folder / "data").exists() else None
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _recorded(folder: Path) -> Iterator[UploadedPart]:
    for record in (folder / "parts").iterdir():
        said = _RECORD.fullmatch(record.read_text("utf-8", "replace"))
        if said and record.name.isdigit():
            yield UploadedPart(int(record.name), int(said[1]), said[2], f"{KIND}:{said[2]}")


def _write(path: Path, text: str) -> None:
    """Writes a small file whole or not at all."""
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    new.write_text(text, "utf-8")
    new.replace(path)

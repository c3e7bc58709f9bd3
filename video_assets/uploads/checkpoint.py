"""Where an upload is found again by who takes it up: in the store itself, or written down elsewhere."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from video_assets.storage.object_store import ObjectNotFound, ObjectStore, StoreError
from video_assets.storage.part_uploads import PartUpload, PendingUpload, UploadedPart
from video_assets.uploads.errors import InvalidWatch
from video_assets.uploads.record import SUFFIX, parsed

_Made = TypeVar("_Made")

MOST_RECORD_BYTES = 16 * 1024**2
"""A record is smaller, whatever its upload."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An upload under way, as far as it is known; `size` and `mtime_ns` of the file, and the kind of its parts'
    checksums, where they were written down.
    """

    upload_id: str
    part_bytes: int
    size: int | None = None
    mtime_ns: int | None = None
    started_at: str = ""
    kind: str = ""


class Checkpoint(Protocol):
    """The uploads under way and the records of those published, by key. Away is `StoreUnavailable` or
    `CheckpointAway`.
    """

    kind: str
    """`store` or `checkpoint`: what is away when it is."""

    def take_up(self, key: str, part_bytes: int) -> tuple[Begun, PartUpload] | None:
        """The upload under way of a key, with the parts that were sent; others of the key are aborted."""

    def begin(self, key: str, begun: Begun) -> None:
        """Keeps an upload that was begun."""

    def add(self, key: str, part: UploadedPart) -> None:
        """Keeps a part that was sent."""

    def finish(self, key: str, record: dict[str, Any] | None) -> None:
        """Forgets the upload under way, and keeps its record if it was published."""

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of what was last published for a key."""

    def sent_bytes(self, key: str) -> int | None:
        """What was sent of an upload under way; None where there is none. Changes nothing."""


class StoreCheckpoint(Checkpoint):
    """The store's own state of uploads. Needs permission to list uploads and their parts, and to read records."""

    kind = "store"

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def take_up(self, key: str, part_bytes: int) -> tuple[Begun, PartUpload] | None:
        found = sorted((p for p in self._store.uploads.pending(key) if p.key == key), key=_begun_at)
        for pending in reversed(found):
            with contextlib.suppress(ObjectNotFound):
                upload = self._store.uploads.resume(key, pending.upload_id, part_bytes=part_bytes)
                for other in found:
                    if other.upload_id != pending.upload_id:
                        abort(self._store, key, other.upload_id, part_bytes)
                started_at = pending.begun_at.isoformat()
                return Begun(pending.upload_id, part_bytes, started_at=started_at, kind=upload.kind), upload
        return None

    def begin(self, key: str, begun: Begun) -> None:
        """The store has it."""

    def add(self, key: str, part: UploadedPart) -> None:
        """The store has it."""

    def finish(self, key: str, record: dict[str, Any] | None) -> None:
        """The store has it."""

    def record(self, key: str) -> dict[str, Any] | None:
        try:
            return parsed(self._store.get(key + SUFFIX, length=MOST_RECORD_BYTES))
        except ObjectNotFound:
            return None

    def sent_bytes(self, key: str) -> int | None:
        newest = max((p for p in self._store.uploads.pending(key) if p.key == key), key=_begun_at, default=None)
        if newest is None:
            return None
        try:
            return _sum(self._store.uploads.resume(key, newest.upload_id, part_bytes=1))
        except ObjectNotFound:
            return None


class Values(Protocol):
    """Texts by name, durable when `put` returns. Every method may raise `CheckpointAway`."""

    def get(self, name: str) -> str | None:
        """The text of a name."""

    def put(self, name: str, text: str) -> None:
        """Keeps a text."""

    def delete(self, names: list[str]) -> None:
        """Forgets names."""

    def below(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Names that begin with `prefix`, with their texts."""


class WrittenCheckpoint(Checkpoint):
    """The same, written down. Of the store it needs the permission to write, and no more."""

    kind = "checkpoint"

    def __init__(self, values: Values, store: ObjectStore) -> None:
        self._values = values
        self._store = store

    def take_up(self, key: str, part_bytes: int) -> tuple[Begun, PartUpload] | None:
        begun = _made(Begun, self._values.get(f"upload\n{key}"))
        if begun is None:
            return self._found_in_store(key, part_bytes)
        texts = [text for _, text in self._values.below(f"part\n{key}\n")]
        sent = [part for part in (_made(UploadedPart, text) for text in texts) if part is not None]
        upload = self._store.uploads.resume(
            key, begun.upload_id, part_bytes=begun.part_bytes, parts=sent, kind=begun.kind
        )
        return begun, upload

    def begin(self, key: str, begun: Begun) -> None:
        self._forget(key)
        self._values.put(f"upload\n{key}", json.dumps(asdict(begun)))

    def add(self, key: str, part: UploadedPart) -> None:
        self._values.put(f"part\n{key}\n{part.number}", json.dumps(asdict(part)))

    def finish(self, key: str, record: dict[str, Any] | None) -> None:
        if record is not None:
            self._values.put(f"record\n{key}", json.dumps(record))
        self._forget(key)

    def record(self, key: str) -> dict[str, Any] | None:
        text = self._values.get(f"record\n{key}")
        return None if text is None else parsed(text.encode())

    def sent_bytes(self, key: str) -> int | None:
        if self._values.get(f"upload\n{key}") is None:
            return None
        taken = self.take_up(key, 1)
        return None if taken is None else _sum(taken[1])

    def _found_in_store(self, key: str, part_bytes: int) -> tuple[Begun, PartUpload] | None:
        """What the store has where nothing is written down (a checkpoint that was lost), if it may be asked."""
        try:
            found = StoreCheckpoint(self._store).take_up(key, part_bytes)
        except StoreError:
            return None
        if found is not None:
            begun, upload = found
            self.begin(key, begun)
            for part in upload.parts.values():
                self.add(key, part)
        return found

    def _forget(self, key: str) -> None:
        names = [name for name, _ in self._values.below(f"part\n{key}\n")]
        self._values.delete([f"upload\n{key}", *names])


def open_checkpoint(uri: str | None, store: ObjectStore, folder: Path) -> Checkpoint:
    """The checkpoint at a URI: None (the store's own), `sqlite:///var/lib/uploads.db` or `redis://host:6379/0`.

    Raises:
        InvalidWatch: no checkpoint this version can open.
    """
    if uri is None:
        return StoreCheckpoint(store)
    scheme = uri.partition("://")[0]
    if scheme == "sqlite":
        from video_assets.uploads.sqlite_values import SqliteValues

        path = Path(uri.removeprefix("sqlite://"))
        if not path.is_absolute():
            raise InvalidWatch("the checkpoint", "is no absolute path", "Write sqlite:///var/lib/uploads.db.")
        return WrittenCheckpoint(SqliteValues(path), store)
    if scheme in ("redis", "rediss"):
        from video_assets.uploads.redis_values import RedisValues

        return WrittenCheckpoint(RedisValues(uri, f"video-assets:{store.uri}:{folder}"), store)
    cause = f"has the unknown scheme {scheme[:20]!r}" if "://" in uri else "is no URI"
    raise InvalidWatch("the checkpoint", cause, "Write sqlite:///PATH or redis://HOST:6379/0, or leave it out.")


def abort(store: ObjectStore, key: str, upload_id: str, part_bytes: int) -> None:
    """Aborts an upload, if it is still there."""
    with contextlib.suppress(ObjectNotFound):
        store.uploads.resume(key, upload_id, part_bytes=part_bytes, parts=()).abort()


def _begun_at(pending: PendingUpload) -> datetime:
    return pending.begun_at


def _sum(upload: PartUpload) -> int:
    return sum(part.size_bytes for part in upload.parts.values())


def _made(kind: Callable[..., _Made], text: str | None) -> _Made | None:
    """What was written down; None where nothing was, or another version wrote it."""
    try:
        return None if text is None else kind(**json.loads(text))
    except (TypeError, ValueError):
        return None

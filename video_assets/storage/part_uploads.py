"""Objects sent in parts by a writer that may die on the way: what every store keeps of them, `ObjectStore.uploads`.

`ObjectStore.multipart` is for one process and one call; an upload here outlives its writer. Who takes it up again finds
it by its key, or by an id that it has written down, with the parts that the store has of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from video_assets.storage.object_store import ObjectInfo


@dataclass(frozen=True, slots=True)
class Part:
    """A part's bytes, without them. `checksum` is of the store's own kind (`PartUploads.checksum`)."""

    size_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part that the store has. `checksum` is empty where the store does not say it; `etag` names the part to it."""

    number: int
    size_bytes: int
    etag: str
    checksum: str


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """An upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str
    begun_at: datetime


class PartUpload(Protocol):
    """One object on its way, in parts of one size; the last may be shorter. Threads may send at the same time."""

    @property
    def upload_id(self) -> str:
        """What the store calls the upload."""

    @property
    def parts(self) -> dict[int, UploadedPart]:
        """The parts that the store has, by number."""

    def send(self, number: int, data: bytes, checksum: str = "") -> UploadedPart:
        """Sends part `number` (from 1), with a checksum that the store holds it against; sent again, it is replaced.

        Args:
            number: of the part.
            data: its bytes.
            checksum: what `PartUploads.checksum` gives for them, where that is known already.

        Raises:
            ObjectNotFound: the store knows no such upload any more.
        """

    def complete(self) -> ObjectInfo:
        """Publishes the parts as one object. Goes well again where the answer to an earlier try was lost.

        Raises:
            ObjectNotFound: the store knows no such upload any more.
            StoreError: no part was sent, or the store lacks one.
        """

    def abort(self) -> None:
        """Drops the parts; does nothing where there is no such upload any more."""


class PartUploads(Protocol):
    """The uploads of one store. Every method may raise `StoreUnavailable`."""

    min_part_bytes: ClassVar[int]
    """The store refuses a smaller part, the last one excepted."""

    def checksum(self, data: bytes) -> str:
        """The checksum of a part, of the kind that this store keeps: `md5:…`, `crc64:…`, `sha256:…`."""

    def begin(self, key: str, *, part_bytes: int) -> PartUpload:
        """Starts an object in parts of `part_bytes`; it is invisible until `complete()`.

        Raises:
            InvalidKey: see `object_keys.check_key`.
        """

    def resume(
        self, key: str, upload_id: str, *, part_bytes: int, parts: Iterable[UploadedPart] | None = None
    ) -> PartUpload:
        """Takes up an upload, with the parts that the store lists, or, where `parts` are given, with these unasked.

        Raises:
            ObjectNotFound: the store knows no such upload of this key. With `parts`, the first use tells.
        """

    def pending(self, prefix: str = "") -> Iterator[PendingUpload]:
        """The uploads under way of keys that begin with `prefix`."""

    def confirm(self, key: str, parts: Sequence[Part]) -> ObjectInfo | None:
        """The object, if the store vouches by length and checksum that it is these parts joined; else None."""

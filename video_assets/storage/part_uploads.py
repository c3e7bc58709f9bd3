"""Objects sent in parts by a writer that may die on the way: what every store keeps of them, `ObjectStore.uploads`.

`ObjectStore.multipart` is for one process and one call; an upload here outlives its writer. Who takes it up again finds
it by its key, or by an id that it has written down, with the parts that the store has of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from video_assets.storage.object_store import ObjectInfo


@dataclass(frozen=True, slots=True)
class Part:
    """A part's bytes, without them. `checksum` is of a kind that the store keeps (`PartUploads.checksum`)."""

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
    def kind(self) -> str:
        """Of the checksums that parts are sent with: `md5`, for one (see `kind_of`)."""

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
            StoreError: the store got other bytes, again and again.
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

    def checksum(self, data: bytes, kind: str = "") -> str:
        """The checksum of a part: `crc64nvme:…` or `md5:…` (S3), `crc64:…` (OSS), `sha256:…` (a disk).

        Args:
            data: the part.
            kind: which of those that this store may have; else its first.
        """

    def begin(self, key: str, *, part_bytes: int) -> PartUpload:
        """Starts an object in parts of `part_bytes`; it is invisible until `complete()`.

        Raises:
            InvalidKey: see `object_keys.check_key`.
        """

    def resume(
        self,
        key: str,
        upload_id: str,
        *,
        part_bytes: int,
        parts: Iterable[UploadedPart] | None = None,
        kind: str = "",
    ) -> PartUpload:
        """Takes up an upload, with the parts that the store lists, or, where `parts` are given, with these unasked.

        Args:
            key: of the object.
            upload_id: what the store calls the upload.
            part_bytes: the size of its parts.
            parts: those that the store has.
            kind: what `PartUpload.kind` was, where that is known and `parts` are given.

        Raises:
            ObjectNotFound: the store knows no such upload of this key. With `parts`, the first use tells.
        """

    def pending(self, prefix: str = "") -> Iterator[PendingUpload]:
        """The uploads under way of keys that begin with `prefix`."""

    def confirm(self, key: str, size_bytes: int, parts: Callable[[str], Sequence[Part]]) -> ObjectInfo | None:
        """The object, if the store vouches by length and checksum that it is these parts joined; else None.

        Args:
            key: of the object.
            size_bytes: its length; nothing more is asked where it differs.
            parts: gives the parts with checksums of a kind, which is the one that the store tells of this object.
        """


def kind_of(checksum: str) -> str:
    """The kind of a checksum: `md5` of `md5:…`."""
    return checksum.partition(":")[0]

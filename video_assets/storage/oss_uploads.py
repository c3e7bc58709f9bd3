"""Uploads to OSS that outlive their writer. A part's checksum is its CRC64, which OSS tells of parts and of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import ClassVar

from video_assets.storage.object_store import ObjectInfo, ObjectNotFound
from video_assets.storage.oss_client import OssConnection
from video_assets.storage.oss_errors import store_errors
from video_assets.storage.oss_multipart import OssMultipartUpload, OssPart, crc64, joined_crc64, uploads_under_way
from video_assets.storage.oss_uri import OssPlace
from video_assets.storage.part_uploads import Part, PartUpload, PartUploads, PendingUpload, UploadedPart

KIND = "crc64"


@dataclass(frozen=True)
class OssUploads(PartUploads):
    """The uploads of one place in a bucket.

    Args:
        connected: gives the connection of this process.
        place: the bucket and the path below it.
        full_key: the bucket's own key for one of the store's.
        upload: starts an upload of a key, or takes one up by its id and known parts.
        head: of the store.
    """

    connected: Callable[[], OssConnection]
    place: OssPlace
    full_key: Callable[[str], str]
    upload: Callable[[str, str | None, dict[int, OssPart] | None], OssMultipartUpload]
    head: Callable[[str], ObjectInfo]

    min_part_bytes: ClassVar[int] = 100 * 1024

    def checksum(self, data: bytes, kind: str = "") -> str:
        return f"{KIND}:{crc64(data)}"

    def begin(self, key: str, *, part_bytes: int) -> PartUpload:
        return OssPartUpload(self.upload(key, None, None))

    def resume(
        self,
        key: str,
        upload_id: str,
        *,
        part_bytes: int,
        parts: Iterable[UploadedPart] | None = None,
        kind: str = "",
    ) -> PartUpload:
        known = None
        if parts is not None:
            known = {part.number: OssPart(part.etag, _crc(part.checksum), part.size_bytes) for part in parts}
        return OssPartUpload(self.upload(key, upload_id, known))

    def pending(self, prefix: str = "") -> Iterator[PendingUpload]:
        root = f"{self.place.path}/" if self.place.path else ""
        with store_errors(self.place, self.place.uri):
            for upload in uploads_under_way(self.connected().client, self.place, prefix):
                begun_at = upload.initiated.astimezone(UTC)
                yield PendingUpload(upload.key.removeprefix(root), upload.upload_id, begun_at)

    def confirm(self, key: str, size_bytes: int, parts: Callable[[str], Sequence[Part]]) -> ObjectInfo | None:
        from alibabacloud_oss_v2 import HeadObjectRequest

        try:
            with store_errors(self.place, self.place.uri_of(self.full_key(key))):
                client = self.connected().client
                found = client.head_object(HeadObjectRequest(self.place.bucket, self.full_key(key)))
        except ObjectNotFound:
            return None
        if found.content_length != size_bytes or found.hash_crc64 != str(_joined(parts(KIND))):
            return None
        return ObjectInfo(key, size_bytes, found.etag.strip('"'), found.last_modified.astimezone(UTC))


class OssPartUpload(PartUpload):
    """One upload of OSS."""

    def __init__(self, upload: OssMultipartUpload) -> None:
        self._upload = upload
        self._info: ObjectInfo | None = None

    @property
    def upload_id(self) -> str:
        return self._upload.upload_id

    @property
    def kind(self) -> str:
        return KIND

    @property
    def parts(self) -> dict[int, UploadedPart]:
        return {number: _told(number, part) for number, part in self._upload.sent.items()}

    def send(self, number: int, data: bytes, checksum: str = "") -> UploadedPart:
        self._upload.write_part(number, data, _crc(checksum) if checksum else None)
        return _told(number, self._upload.sent[number])

    def complete(self) -> ObjectInfo:
        self._info = self._info or self._upload.complete()
        return self._info

    def abort(self) -> None:
        self._upload.abort()


def _told(number: int, part: OssPart) -> UploadedPart:
    return UploadedPart(number, part.size_bytes, part.etag, f"{KIND}:{part.crc}")


def _crc(checksum: str) -> int:
    return int(checksum.removeprefix(f"{KIND}:") or 0)


def _joined(parts: Sequence[Part]) -> int:
    """The CRC64 of the parts joined."""
    return joined_crc64((_crc(part.checksum), part.size_bytes) for part in parts)

"""What a whole reading of the source saw, by partition."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from video_assets.keys import Partition
from video_assets.path_template import KeyFields
from video_assets.storage.object_store import ObjectInfo


@dataclass(frozen=True, slots=True)
class Upload:
    """One video of the source, and what its key says."""

    info: ObjectInfo
    fields: KeyFields


@dataclass
class PartitionScan:
    """What a scan saw of one partition. `fingerprint` changes when any upload comes, changes or goes."""

    videos: int = 0
    size_bytes: int = 0
    known: str = ""
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, key: str, size_bytes: int, etag: str) -> None:
        """Takes one more upload; to be called in the order of keys."""
        self.videos += 1
        self.size_bytes += size_bytes
        self._digest.update(f"{key}\0{size_bytes}\0{etag}\n".encode("utf-8", "surrogateescape"))

    @property
    def fingerprint(self) -> str:
        """Hash of every (key, size, etag), in the order of keys; or that which an earlier scan is known to have had."""
        return self.known or self._digest.hexdigest()[:16]


def scan_partitions(uploads: Iterable[Upload]) -> dict[Partition, PartitionScan]:
    """What a whole listing holds, by partition."""
    scans: dict[Partition, PartitionScan] = {}
    for upload in uploads:
        info = upload.info
        scans.setdefault(upload.fields.partition, PartitionScan()).add(info.key, info.size_bytes, info.etag)
    return scans

"""What a whole reading of the source saw, by partition."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from video_assets.keys import Partition
from video_assets.path_template import KeyFields
from video_assets.storage.object_store import ObjectInfo

DIGEST_BYTES = 16
_DIGEST_MASK = (1 << 8 * DIGEST_BYTES) - 1

GONE = "gone"
"""The fingerprint of a partition that had uploads and has none now."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One video of the source, and what its key says."""

    info: ObjectInfo
    fields: KeyFields


@dataclass(slots=True)
class PartitionScan:
    """What a scan saw of one partition, or of a part of it.

    `fingerprint` changes when any upload comes, changes or goes.
    `digest` is the sum of each upload's hash (a multiset hash: Clarke et al., ASIACRYPT 2003), so that uploads may come
    in any order, and scans of parts add up to that of the whole.
    """

    videos: int = 0
    size_bytes: int = 0
    digest: int = 0

    def add(self, key: str, size_bytes: int, etag: str) -> None:
        """Takes one more upload."""
        text = f"{key}\0{size_bytes}\0{etag}\n".encode("utf-8", "surrogateescape")
        self.videos += 1
        self.size_bytes += size_bytes
        upload = int.from_bytes(hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest(), "big")
        self.digest = (self.digest + upload) & _DIGEST_MASK

    def include(self, part: PartitionScan) -> None:
        """Takes what was seen of another part of the partition."""
        self.videos += part.videos
        self.size_bytes += part.size_bytes
        self.digest = (self.digest + part.digest) & _DIGEST_MASK

    def exclude(self, part: PartitionScan) -> None:
        """Takes away what was included."""
        self.videos -= part.videos
        self.size_bytes -= part.size_bytes
        self.digest = (self.digest - part.digest) & _DIGEST_MASK

    @property
    def fingerprint(self) -> str:
        """Hash of the set of every (key, size, etag); GONE where there is none."""
        if not self.videos:
            return GONE
        return hashlib.sha256(self.digest.to_bytes(DIGEST_BYTES, "big")).hexdigest()[:16]


def scan_partitions(uploads: Iterable[Upload]) -> dict[Partition, PartitionScan]:
    """What a whole listing holds, by partition."""
    scans: dict[Partition, PartitionScan] = {}
    for upload in uploads:
        info = upload.info
        scans.setdefault(upload.fields.partition, PartitionScan()).add(info.key, info.size_bytes, info.etag)
    return scans

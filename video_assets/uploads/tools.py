"""What a sender works with, and how a watch was asked for."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from video_assets.storage.object_store import MAX_PART_NUMBER, ObjectStore
from video_assets.uploads.bandwidth import Bandwidth
from video_assets.uploads.checkpoint import Checkpoint
from video_assets.uploads.patience import Patience
from video_assets.uploads.record import SentPart, host_name
from video_assets.uploads.source_file import SourceFile

_T = TypeVar("_T")

PART_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a folder is watched.

    Attributes:
        part_bytes: size of a part, or of a chunk.
        connections: parts sent at a time, and held in memory.
        settle_s: a file that has not changed for so long is ready.
        incomplete_after_s: one that cannot be played goes up under `incomplete/` after so long.
        is_followed: parts of files that still grow are sent.
        layout: an object for each file, or chunks.
        is_deleted_after: a file is deleted once the store has confirmed it.
        bytes_s: the most that is sent in a second.
        rescan_s: the folder is looked through this often, whatever events say.
        abandoned_after_s: uploads begun longer ago, whose files are gone, are aborted.
        metrics_s: a line of figures this often, if there is anything new.
    """

    part_bytes: int = PART_BYTES
    connections: int = 4
    settle_s: float = 10.0
    incomplete_after_s: float = 600.0
    is_followed: bool = False
    layout: Literal["files", "chunks"] = "files"
    is_deleted_after: bool = False
    bytes_s: int | None = None
    rescan_s: float = 30.0
    abandoned_after_s: float = 7 * 86_400.0
    metrics_s: float = 60.0
    extensions: tuple[str, ...] = (".mp4", ".mov", ".mkv", ".avi")


@dataclass
class Tally:
    """Counts since the watcher began."""

    files_done: int = 0
    files_deleted: int = 0
    bytes_sent: int = 0
    parts_sent: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def sent(self, size: int) -> None:
        """Counts a part."""
        with self._guard:
            self.bytes_sent += size
            self.parts_sent += 1


@dataclass(frozen=True)
class Tools:
    """What senders share."""

    folder: Path
    store: ObjectStore
    checkpoint: Checkpoint
    options: WatchOptions
    patience: Patience
    bandwidth: Bandwidth
    stop: threading.Event
    tally: Tally = field(default_factory=Tally)
    host: str = field(default_factory=host_name)

    def in_store(self, function: Callable[[], _T]) -> _T:
        """The result, once the store is there."""
        return self.patience.until_done("store", function)

    def in_checkpoint(self, function: Callable[[], _T]) -> _T:
        """The result, once the checkpoint is there."""
        return self.patience.until_done(self.checkpoint.kind, function)

    def measured(self, number: int, data: bytes, kind: str = "", *, has_sha256: bool = False) -> SentPart:
        """A part with its checksums: the store's first, or the one of `kind`."""
        sha256 = hashlib.sha256(data).hexdigest() if has_sha256 else ""
        return SentPart(number, len(data), self.store.uploads.checksum(data, kind), sha256)


@dataclass(frozen=True, slots=True)
class Cut:
    """How a file is cut into parts."""

    size: int
    part_bytes: int

    @classmethod
    def of(cls, source: SourceFile, part_bytes: int) -> Cut:
        """Parts of `part_bytes`, or larger ones, in whole MiB, where the file would have too many."""
        mib = 1024 * 1024
        needed = -(-source.size // MAX_PART_NUMBER)
        return cls(source.size, part_bytes if needed <= part_bytes else -(-needed // mib) * mib)

    @property
    def count(self) -> int:
        """How many parts there are."""
        return -(-self.size // self.part_bytes)

    def length(self, number: int) -> int:
        """Bytes of a part."""
        return min(self.part_bytes, self.size - (number - 1) * self.part_bytes)

    def read(self, source: SourceFile, number: int) -> bytes:
        """A part's bytes."""
        return source.read((number - 1) * self.part_bytes, self.length(number))

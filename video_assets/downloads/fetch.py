"""Writes planned files, several at a time: each to a `.part` beside its place, and moved there when it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

from video_assets.downloads.errors import DownloadFailed
from video_assets.downloads.layout import Write
from video_assets.downloads.part_file import part_file, sweep_parts
from video_assets.downloads.selection import SelectedFile
from video_assets.errors import VideoAssetsError
from video_assets.storage.object_store import STREAM_CHUNK_BYTES, ObjectChanged, ObjectStore
from video_assets.storage.positioned_file import PositionedFile
from video_assets.storage.registry import open_store, split_uri

_LISTED = 20
_WHOLE_BYTES = 16 * STREAM_CHUNK_BYTES
"""A range up to this is read in one request."""


@dataclass
class Progress:
    """How far a download is."""

    files: int
    done: int = 0
    failed: int = 0
    bytes_done: int = 0


def fetch(writes: list[Write], *, workers: int, report: Callable[[Progress], None] = lambda progress: None) -> None:
    """Fetches all of them, and then says which could not be.

    Raises:
        DownloadFailed: naming the first 20 with their causes; the others are done, and no `.part` is left.
    """
    sweep_parts(write.path.parent for write in writes)
    stores, progress, lock = Stores(), Progress(len(writes)), Lock()

    def one(write: Write) -> str:
        try:
            size = _fetch_one(write, stores)
        except (VideoAssetsError, OSError) as error:
            with lock:
                progress.failed += 1
                report(progress)
            return str(error)
        with lock:
            progress.done, progress.bytes_done = progress.done + 1, progress.bytes_done + size
            report(progress)
        return ""

    with ThreadPoolExecutor(workers) as pool:
        failures = [cause for cause in pool.map(one, writes) if cause]
    if failures:
        shown = "; ".join(failures[:_LISTED]) + (f"; and {len(failures) - _LISTED} more" * (len(failures) > _LISTED))
        remedy = "Mend the cause and run it again, skipping what exists."
        raise DownloadFailed(f"{len(failures)} of {len(writes)} files", shown, remedy)


@dataclass
class Stores:
    """Each store opened once."""

    _opened: dict[str, ObjectStore] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def at(self, uri: str) -> tuple[ObjectStore, str]:
        """The store of an object, and its key."""
        root, key = split_uri(uri)
        with self._lock:
            if root not in self._opened:
                self._opened[root] = open_store(root)
            return self._opened[root], key


def _fetch_one(write: Write, stores: Stores) -> int:
    """Returns the size in bytes."""
    store, key = stores.at(write.file.uri)
    with part_file(write.path) as out:
        if write.file.size_bytes is None:
            return store.read_into(key, PositionedFile(out.fileno(), str(write.path)), etag=write.file.etag)
        return sum(out.write(chunk) for chunk in _chunks(write.file, write.file.size_bytes, store, key))


def _chunks(file: SelectedFile, size_bytes: int, store: ObjectStore, key: str) -> Iterator[bytes]:
    """The bytes of a file that lies within a shard."""
    for at in range(0, size_bytes, _WHOLE_BYTES):
        wanted = min(_WHOLE_BYTES, size_bytes - at)
        data = store.get(key, start=file.start + at, length=wanted, etag=file.etag)
        if len(data) != wanted:
            raise ObjectChanged(
                file.uri, f"has {len(data)} of {wanted} bytes at {file.start + at}", "Run frames again."
            )
        yield data

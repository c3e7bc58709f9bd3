"""How far each file of a watched folder is, asked of folder, store and checkpoint; a watcher need not be running."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from video_assets.storage.object_store import ObjectStore
from video_assets.uploads.bandwidth import Bandwidth
from video_assets.uploads.checkpoint import Checkpoint
from video_assets.uploads.chunk_sender import ChunkSender
from video_assets.uploads.errors import FileChanged, UploadError
from video_assets.uploads.folder import Seen, scan
from video_assets.uploads.patience import Impatience
from video_assets.uploads.readiness import state_of
from video_assets.uploads.record import INCOMPLETE, is_of
from video_assets.uploads.source_file import SourceFile
from video_assets.uploads.tools import Tools, WatchOptions


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One file. `state` is `uploaded`, `uploaded, incomplete` (under `incomplete/`), `under way`, what it waits for, or
    what is wrong; `sent_bytes` of its `size` are in the store, at `uri`.
    """

    name: str
    state: str
    size: int
    sent_bytes: int
    uri: str = ""


def upload_status(
    folder: Path, store: ObjectStore, checkpoint: Checkpoint, options: WatchOptions
) -> Iterator[FileStatus]:
    """The status of each file, oldest first.

    Raises:
        SourceAway, CheckpointAway, StoreUnavailable: nothing is known while one of them is away.
    """
    stop = threading.Event()
    tools = Tools(folder, store, checkpoint, options, Impatience(stop), Bandwidth(None, stop), stop)
    seen, faults = scan(folder, options.extensions)
    for fault in faults:
        yield FileStatus(fault.item, fault.cause, 0, 0)
    for file in seen:
        try:
            with SourceFile(folder, file.name, is_growing=True) as source:
                yield _status(tools, file, source)
        except FileChanged:
            continue
        except UploadError as error:
            yield FileStatus(file.name, error.cause, file.size, 0)


def _status(tools: Tools, file: Seen, source: SourceFile) -> FileStatus:
    asked = _of_chunks if tools.options.layout == "chunks" else _of_object
    for root in ("", INCOMPLETE):
        is_uploaded, sent_bytes, uri = asked(tools, source, root)
        if is_uploaded:
            return FileStatus(file.name, "uploaded, incomplete" if root else "uploaded", file.size, file.size, uri)
        if sent_bytes is not None:
            return FileStatus(file.name, "under way", file.size, sent_bytes, uri)
    # By the clock of the day, as nobody has watched it.
    still_s = time.time() - source.mtime_ns / 1e9
    return FileStatus(file.name, state_of(file, source, still_s, tools.options).value, file.size, 0)


def _of_object(tools: Tools, source: SourceFile, root: str) -> tuple[bool, int | None, str]:
    key = root + source.name
    uri = tools.store.uri_of(key)
    if is_of(tools.checkpoint.record(key), source):
        return True, source.size, uri
    return False, tools.checkpoint.sent_bytes(key), uri


def _of_chunks(tools: Tools, source: SourceFile, root: str) -> tuple[bool, int | None, str]:
    prefix, said, sent_bytes = ChunkSender(tools).progress(source, root)
    is_complete = said is not None and bool(said.get("complete"))
    return is_complete, sent_bytes or None, f"{tools.store.uri}/{prefix}"

"""What a watch may be asked for: folder, store and sizes that go together, and one watcher for them."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from video_assets.settings.places import lies_in
from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import shown_uri
from video_assets.uploads.chunk_sender import MOST_CHUNK_BYTES
from video_assets.uploads.errors import InvalidWatch
from video_assets.uploads.tools import WatchOptions

MOST_PART_BYTES = 5 * 1024**3
"""What S3 and OSS take."""


def check_places(folder: Path, uri: str) -> None:
    """Raises InvalidWatch where what is uploaded would be found in the folder again."""
    if lies_in(uri if "://" in uri else Path(uri).as_uri(), folder.as_uri()):
        raise InvalidWatch(shown_uri(uri), f"lies in the watched folder {folder}", "Upload to another place.")


def check_options(store: ObjectStore, options: WatchOptions) -> None:
    """Raises InvalidWatch where parts are of a size that the store does not take."""
    least, most = store.uploads.min_part_bytes, MOST_PART_BYTES
    if options.layout == "chunks":
        least, most = 1, MOST_CHUNK_BYTES
    if not least <= options.part_bytes <= most:
        cause = f"of {options.part_bytes} bytes are not from {least} to {most} bytes, which {store.uri} takes"
        raise InvalidWatch("parts", cause, "Give another --part-bytes.")


@contextlib.contextmanager
def one_watcher(folder: Path, uri: str) -> Iterator[None]:
    """Holds the folder and store for one watcher of this machine; its death frees them.

    Raises:
        InvalidWatch: another has them.
    """
    from filelock import FileLock, Timeout

    name = hashlib.sha256(f"{folder}\0{uri}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir()) / f"video-assets-upload-{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        cause = f"is watched for {uri} by another process already"
        raise InvalidWatch(str(folder), cause, "Stop that one first.") from None
    except OSError as error:
        cause = f"{lock.lock_file} cannot be locked: {error.strerror}"
        raise InvalidWatch(str(folder), cause, "Run as the user who owns it, or remove it.") from None
    try:
        yield
    finally:
        lock.release()

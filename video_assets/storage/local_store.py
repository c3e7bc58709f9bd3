"""`file://`: a store on a local disk (POSIX only).

- Reading creates nothing. Opening needs an existing root; `create=True` makes it. A put never makes the root again:
  a root that is gone is an unmounted disk, not an empty store.
- Puts go to `<root>/.tmp/`, are synced, then renamed (or linked, for `if_absent`) into place; the folder is synced
  as well, so that what `put` returned survives a power cut.
- Reads follow symbolic links, out of the root too: whoever owns the disk placed them. Writes never do.
- The etag is size, modification time and inode number (`local_files`).
- A disk cannot hold `a` and `a/b` at once: the second to come is an `InvalidKey`. Emptied folders are removed.

What only listings, locks and uploads need is imported there: a command that reads and puts files starts without it.
"""

# Names are bytes here, so that any name works; pathlib has none.
# ruff: noqa: PTH103, PTH116
from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote_to_bytes

from video_assets.storage.local_files import (
    ABSENT_ERRNOS,
    OneVersion,
    decode_key,
    encode_key,
    file_uri,
    object_info,
    unavailable_on_os_error,
    unreadable,
)
from video_assets.storage.local_publish import publish, remove
from video_assets.storage.local_temporary import Temporary, hidden_folder, remove_dead
from video_assets.storage.object_keys import check_key, printable_key, segment_fault
from video_assets.storage.object_reader import open_reader
from video_assets.storage.object_store import (
    STREAM_CHUNK_BYTES,
    CommonPrefix,
    Digest,
    InvalidKey,
    LockTimeout,
    MultipartUpload,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    StoreUnavailable,
    check_size,
    object_changed,
)

if TYPE_CHECKING:
    from video_assets.storage.local_uploads import LocalUploads


class LocalStore(ObjectStore):
    """The folder `root`, an absolute path, as a store.

    Raises:
        StoreUnavailable: there is no such folder (and `create` is not set), or it is not permitted.
    """

    conditional_put = True

    def __init__(self, root: Path, *, create: bool = False) -> None:
        self._root = os.fsencode(root)
        self._uri = file_uri(self._root)
        if create:
            with unavailable_on_os_error(self._uri), contextlib.suppress(FileExistsError):
                os.makedirs(self._root, exist_ok=True)
        self._root_identity()

    def __repr__(self) -> str:
        return f"LocalStore({self._uri!r})"

    @property
    def uri(self) -> str:
        return self._uri

    def uri_of(self, key: str) -> str:
        return file_uri(self._root + b"/" + encode_key(key))

    def key_of(self, uri: str) -> str | None:
        # Compared as bytes: other programs percent-encode more of a path than `file_uri` does.
        path, base = unquote_to_bytes(uri.removeprefix("file://")), self._root + b"/"
        is_below = uri.startswith("file://") and path.startswith(base) and path != base
        return decode_key(path[len(base) :]) if is_below else None

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        from video_assets.storage import local_listing

        with self._one_root():
            yield from local_listing.list_objects(self._root, prefix, start_after)

    def list_level(
        self, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        from video_assets.storage import local_listing
        from video_assets.storage.prefix_rollup import roll_up

        with self._one_root():
            if delimiter == "/":
                yield from local_listing.list_level(self._root, prefix, start_after)
            else:
                yield from roll_up(self.list(prefix, start_after=start_after), prefix, delimiter, start_after)

    def head(self, key: str) -> ObjectInfo:
        path = self._path(key)
        with self._object_errors(key):
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError
            return object_info(key, status)

    def get(self, key: str, *, start: int = 0, length: int | None = None, etag: str | None = None) -> bytes:
        if start < 0 or (length is not None and length < 0):
            raise ValueError(f"a range cannot start at {start} with length {length}")
        with contextlib.closing(self._open_version(key, etag)) as file:
            return file.read(start, file.size_bytes if length is None else length)

    def stream(self, key: str, *, etag: str | None = None, chunk_bytes: int = STREAM_CHUNK_BYTES) -> Iterator[bytes]:
        with contextlib.closing(self._open_version(key, etag)) as file:
            for start in range(0, file.size_bytes, chunk_bytes):
                yield file.read(start, chunk_bytes)

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        return open_reader(self, key, etag)

    def local_path(self, key: str) -> Path | None:
        return Path(os.fsdecode(self._path(key)))

    def put(self, key: str, data: bytes | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        check_key(key)
        with contextlib.closing(Temporary(self._root, self.uri_of(key))) as temporary:
            for chunk in (data,) if isinstance(data, bytes | bytearray | memoryview) else data:
                temporary.write(chunk)
            return self._publish(temporary, key, if_absent=if_absent)

    def put_from(
        self,
        key: str,
        source: ObjectStore,
        source_key: str,
        *,
        etag: str | None = None,
        size_bytes: int | None = None,
        digests: Sequence[Digest] = (),
    ) -> ObjectInfo:
        check_key(key)
        with contextlib.closing(Temporary(self._root, self.uri_of(key))) as temporary:
            temporary.size_bytes = source.read_into(source_key, temporary.file, etag=etag, digests=digests)
            check_size(source.uri_of(source_key), temporary.size_bytes, size_bytes)
            return self._publish(temporary, key, if_absent=False)

    def multipart(self, key: str) -> MultipartUpload:
        from video_assets.storage.local_multipart import LocalMultipartUpload

        check_key(key)
        item = self.uri_of(key)
        return LocalMultipartUpload(
            Temporary(self._root, item),
            item,
            put=lambda chunks: self.put(key, chunks),
            publish=lambda temporary: self._publish(temporary, key, if_absent=False),
        )

    @property
    def uploads(self) -> LocalUploads:
        from video_assets.storage.local_uploads import LocalUploads

        def read(key: str, start: int, length: int, etag: str) -> bytes:
            return self.get(key, start=start, length=length, etag=etag)

        return LocalUploads(self._root, self.uri_of, self.head, read, self._publish_file)

    def copy(self, source_key: str, key: str) -> ObjectInfo:
        return self.put(key, self.stream(source_key))

    def delete(self, key: str) -> None:
        check_key(key)
        remove(self._root, key, self.uri_of(key))

    def sweep(self) -> int:
        from video_assets.storage.local_uploads import remove_dead_uploads

        self._root_identity()
        with unavailable_on_os_error(self._uri):
            return remove_dead(self._root) + remove_dead_uploads(self._root)

    @contextlib.contextmanager
    def lock(self, name: str, *, timeout_s: float) -> Iterator[None]:
        from filelock import SoftFileLock, Timeout, UnixFileLock

        item = f"lock '{printable_key(name)}' of {self._uri}"
        with unavailable_on_os_error(item):
            lock = UnixFileLock(self._lock_file(name), timeout=max(0.0, timeout_s), thread_local=False)
            try:
                lock.acquire()
            except Timeout as error:
                raise LockTimeout(
                    item,
                    f"was held by another for all of {timeout_s:g} s",
                    "Wait for the run that holds it, or stop that run: its end frees the lock. "
                    f"`fuser -v '{lock.lock_file}'` names the process.",
                ) from error
        try:
            if isinstance(lock, SoftFileLock):
                # filelock falls back to a plain marker file, which would outlive a killed holder.
                raise StoreUnavailable(item, "the disk has no flock", "Put the store on a local disk.")
            yield
        finally:
            lock.release()

    def _lock_file(self, name: str) -> str:
        """The lock's file: readable, and unique for any name. It stays, since removing it would split waiters."""
        folder = hidden_folder(self._root) + b"/locks"
        os.makedirs(folder, exist_ok=True)
        readable = re.sub(r"[^A-Za-z0-9=_.-]+", "_", name)[:80]
        import hashlib

        digest = hashlib.sha256(encode_key(name)).hexdigest()[:16]
        return os.fsdecode(folder) + f"/{readable}-{digest}.lock"

    def _publish(self, temporary: Temporary, key: str, *, if_absent: bool) -> ObjectInfo:
        status = temporary.finish()
        publish(temporary.path, self._root, key, self.uri_of(key), if_absent=if_absent)
        return object_info(key, status)

    def _publish_file(self, path: bytes, key: str) -> ObjectInfo:
        status = os.stat(path)
        publish(path, self._root, key, self.uri_of(key), if_absent=False)
        return object_info(key, status)

    def _path(self, key: str) -> bytes:
        """Where a key that may come from a source lies; wider than `check_key`, but always below the root."""
        fault = segment_fault(key)
        if fault:
            raise InvalidKey(f"key '{printable_key(key)}'", fault, "Take keys from a listing of the store.")
        return self._root + b"/" + encode_key(key)

    def _open_version(self, key: str, etag: str | None) -> OneVersion:
        path, item = self._path(key), self.uri_of(key)
        with self._object_errors(key):
            file = OneVersion(path, item)
        if etag is not None and file.etag != etag:
            file.close()
            raise object_changed(item, file.etag, etag)
        return file

    @contextlib.contextmanager
    def _object_errors(self, key: str) -> Iterator[None]:
        """Types the system's errors on the way to a key: the object's fault, if there is a store at all."""
        try:
            yield
        except OSError as error:
            self._root_identity()
            if error.errno is not None and error.errno not in ABSENT_ERRNOS:
                raise unreadable(self.uri_of(key), error) from error
            raise ObjectNotFound(self.uri_of(key), "does not exist", "List the store again.") from error

    @contextlib.contextmanager
    def _one_root(self) -> Iterator[None]:
        """Fails a listing during which the root was unmounted or replaced: the missing keys are not gone."""
        before = self._root_identity()
        yield
        if self._root_identity() != before:
            raise StoreUnavailable(self._uri, "was mounted or replaced during a listing", "List it again.")

    def _root_identity(self) -> tuple[int, int]:
        """Device and inode number of the root.

        Raises:
            StoreUnavailable: it is missing, no folder, or not permitted.
        """
        with unavailable_on_os_error(self._uri):
            status = os.stat(self._root)
            if not stat.S_ISDIR(status.st_mode):
                raise StoreUnavailable(self._uri, "is a file, not a folder", "Name the folder that holds the files.")
            if not os.access(self._root, os.R_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return status.st_dev, status.st_ino

"""One file of the watched folder: read at one version, or as it grows."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from video_assets.mp4_boxes import outer_boxes
from video_assets.uploads.errors import FileChanged, SourceAway, UploadError

_BOXED = (".mp4", ".mov", ".m4v")


class SourceFile:
    """An open file, and what it was when it was opened. Use it as a context manager.

    Args:
        folder: the watched folder, for telling a file that is gone from a disk that is.
        name: below the folder, with `/`.
        is_growing: read whatever is there; else each read must be of the version that was opened.

    Raises:
        FileChanged: it is gone, or no regular file.
        UploadError: it cannot be read.
        SourceAway: the folder is not there.
    """

    def __init__(self, folder: Path, name: str, *, is_growing: bool = False) -> None:
        self.name = name
        self.path = folder / name
        self._folder = folder
        self._is_growing = is_growing
        try:
            # A link is not followed: it could lead to anything on this machine. O_NONBLOCK: a pipe has no end.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags)
        except OSError as error:
            raise self._fault(error) from error
        self._status = os.fstat(self._descriptor)
        if not stat.S_ISREG(self._status.st_mode):
            os.close(self._descriptor)
            raise FileChanged(str(self.path), "is no regular file")

    @property
    def size(self) -> int:
        """In bytes, when it was opened."""
        return self._status.st_size

    @property
    def mtime_ns(self) -> int:
        """Its time when it was opened."""
        return self._status.st_mtime_ns

    @property
    def inode(self) -> int:
        """Its number on its disk."""
        return self._status.st_ino

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`.

        Raises:
            FileChanged: it is another version now, or ends earlier.
            UploadError: a bad sector.
            SourceAway: the folder is not there.
        """
        pieces, at, rest = [], start, length
        try:
            while rest and (piece := os.pread(self._descriptor, rest, at)):
                pieces.append(piece)
                at, rest = at + len(piece), rest - len(piece)
            if not self._is_growing:
                self.check_unchanged()
        except OSError as error:
            raise self._fault(error) from error
        if rest:
            raise FileChanged(str(self.path), f"ends before {start + length} bytes")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check_unchanged(self) -> None:
        """Raises FileChanged where the file is no longer what was opened, be it in place or by its name."""
        try:
            found = (os.fstat(self._descriptor), self.path.stat(follow_symlinks=False))
        except OSError as error:
            raise self._fault(error) from error
        for now in found:
            if (now.st_size, now.st_mtime_ns, now.st_ino) != (self.size, self.mtime_ns, self.inode):
                raise FileChanged(str(self.path), "changed while it was uploaded")

    def has_index(self) -> bool:
        """Whether it can be played: an MP4 or MOV has `moov` among its outermost boxes; others are not looked into."""
        if not self.name.lower().endswith(_BOXED):
            return True

        def read_at(at: int, length: int) -> bytes:
            return self.read(at, max(0, min(length, self.size - at)))

        boxes = list(outer_boxes(read_at, self.size))
        return any(box.kind == b"moov" and box.end <= self.size for box in boxes)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fault(self, error: OSError) -> Exception:
        if not self._folder.is_dir():
            return source_away(self._folder, error)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return FileChanged(str(self.path), "is gone")
        return UploadError(str(self.path), f"cannot be read: {error.strerror}", "Mend its permissions or its disk.")


def source_away(folder: Path, error: OSError) -> SourceAway:
    """For a folder that cannot be read."""
    return SourceAway(str(folder), f"cannot be read: {error.strerror}", "Plug in or mount its disk.")

"""A video's bytes as the engine reads them: counted, in large pieces, and of the media data only what is wanted."""

from __future__ import annotations

import contextlib
import io
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from video_assets.video.errors import UnreadableMedia
from video_assets.video.mp4_boxes import media_data
from video_assets.video.read_ahead import AHEAD, ReadAhead, pieces_of

if TYPE_CHECKING:
    from video_assets.video.container import Source

_FIRST_BYTES = 256 * 1024
_MAX_BYTES = 4 * 1024 * 1024
"""A read in full fetches the first after a jump, and twice as much each time it goes on, up to the second."""

_BOX_BYTES = 16 * 1024
"""What is fetched to look at a box: with it, as a rule, all tables of a fragment."""

_KEPT_BYTES = 16 * 1024 * 1024
"""What is kept of a file object from one pass to the next: its tables and first packets, or a small file whole."""

_ZEROS = bytes(1024 * 1024)


class MediaFile:
    """One video over one or more passes, one after the other; in each, FFmpeg reads it as a file.

    A pass begins with everything as it is. After `want`, the media data of an MP4 or MOV reads as zeros where it is
    not wanted, and costs nothing: FFmpeg takes times, sizes and positions of its packets from tables elsewhere.

    Attributes:
        label: the item named in errors.
        bytes_read: fetched so far, over all passes.
        bytes_total: the file's size; 0 before the first pass.
        sparse: whether media data may be left out. Whoever opens a pass clears it where FFmpeg must see all.
    """

    def __init__(self, source: Source, label: str) -> None:
        self.bytes_read = self.bytes_total = 0
        self.sparse = False
        self._media_data: list[tuple[int, int]] = []
        self._source = Path(source) if isinstance(source, str) else source
        self.label = label
        self._counting = threading.Lock()
        self._kept = _Kept(0 if isinstance(self._source, Path) else _KEPT_BYTES)

    @contextlib.contextmanager
    def opened(self, *, sparse: bool) -> Iterator[None]:
        """One pass, at the file's start.

        FFmpeg may take a failed read for the end of the file, or try again and go on with what comes. So the first
        failure is kept and ends the file; it is raised at the end of the pass.

        Raises:
            UnreadableMedia: a path cannot be read. What a file object raises, unchanged.
        """
        with contextlib.ExitStack() as stack:
            if isinstance(self._source, Path):
                file = stack.enter_context(_on_disk(self._source, self.label))
            else:
                file = self._source
            self._begin(file)
            stack.callback(self._stop_fetching)
            if sparse:
                self._media_data = media_data(self._box_at, self.bytes_total)
            self.sparse = bool(self._media_data)
            try:
                yield
            except Exception:
                self._check()
                raise
            self._check()

    def _begin(self, file: BinaryIO) -> None:
        self._file = file
        self._read_at: Callable[[int, int], bytes] | None = getattr(file, "read_at", None)
        file.seek(0, io.SEEK_END)
        self.bytes_total = file.tell()
        self._failure: Exception | None = None
        self._media_data = []
        self._pieces: list[tuple[int, int]] | None = None
        self._ahead: ReadAhead | None = None
        self._position = self._next_bytes = self._fetched_to = 0
        self._piece = 0, b""

    def want(self, ranges: Iterable[tuple[int, int]]) -> None:
        """From here on, media data outside `ranges` (start and end each) reads as zeros; in a sparse pass only."""
        if not self.sparse:
            return
        self._stop_fetching()
        size = self.bytes_total
        # What an earlier pass has fetched is not fetched again.
        self._pieces = pieces_of(
            part for start, end in ranges for part in self._kept.missing(min(start, size), min(end, size))
        )
        self._ahead = ReadAhead(self._fetch, self._pieces, ahead=AHEAD if self._read_at else 0)
        self._piece = 0, b""

    def _stop_fetching(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = self._pieces = None

    def bytes_at(self, position: int, length: int) -> bytes:
        """What FFmpeg would read there; fewer bytes only at the file's end. Raises what fetching raises."""
        self._position = position
        found = []
        while length > 0 and (data := self._read(length)):
            found.append(data)
            length -= len(data)
        return b"".join(found)

    # What FFmpeg calls

    def read(self, size: int) -> bytes:
        if self._failure is None:
            try:
                return self._read(size)
            except Exception as failure:
                self._failure = failure
        return b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.bytes_total}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _read(self, size: int) -> bytes:
        """Up to `size` bytes at the position, and moves it; none at the end of the file only."""
        if self._position >= self.bytes_total:
            return b""
        start, data = self._piece
        if not start <= self._position < start + len(data):
            start, data = self._piece = self._piece_at(self._position, size)
        begin = self._position - start
        found = data[begin : begin + size]
        self._position += len(found)
        return found

    def _piece_at(self, position: int, size: int) -> tuple[int, bytes]:
        """Bytes around a position where `size` are asked for, and where they begin."""
        if (kept := self._kept.find(position)) is not None:
            return kept
        begin, end = self._media_data_at(position)
        if begin > position:
            return position, self._fetch_and_keep(position, min(begin - position, _MAX_BYTES))
        if self._pieces is None or self._ahead is None:
            return position, self._fetch_and_keep(position, self._growing(position, size))
        number = bisect_right(self._pieces, (position, self.bytes_total)) - 1
        if number >= 0 and position < self._pieces[number][1]:
            return self._pieces[number][0], self._ahead.take(number)
        if number + 1 < len(self._pieces):
            end = min(end, self._pieces[number + 1][0])
        # No further than to the next that is kept, which may be wanted.
        return position, _ZEROS[: self._kept.next_after(position, end) - position]

    def _media_data_at(self, position: int) -> tuple[int, int]:
        """The media data that holds a position, or else the next; everything, where none is known."""
        if not self._media_data:
            return 0, self.bytes_total
        number = bisect_right(self._media_data, (position, self.bytes_total)) - 1
        if number >= 0 and position < self._media_data[number][1]:
            return self._media_data[number]
        return self._media_data[number + 1] if number + 1 < len(self._media_data) else (self.bytes_total,) * 2

    def _growing(self, position: int, size: int) -> int:
        """How much to fetch at once where everything is read; of a local file, no more than what is asked for."""
        if isinstance(self._source, Path):
            return size
        grown = min(2 * self._next_bytes, _MAX_BYTES) if position == self._fetched_to else _FIRST_BYTES
        self._next_bytes = max(grown, _FIRST_BYTES)
        return self._next_bytes

    def _box_at(self, position: int, length: int) -> bytes:
        """As `bytes_at`, for headers that lie far apart."""
        found = b""
        while len(found) < length and position + len(found) < self.bytes_total:
            at = position + len(found)
            more = _BOX_BYTES if self._kept.room else length
            start, data = self._kept.find(at) or (at, self._fetch_and_keep(at, more))
            if at - start >= len(data):
                break
            found += data[at - start :][: length - len(found)]
        return found

    def _fetch_and_keep(self, position: int, length: int) -> bytes:
        data = self._fetch(position, min(length, self._kept.next_after(position, self.bytes_total) - position))
        self._kept.add(position, data)
        self._fetched_to = position + len(data)
        return data

    def _fetch(self, position: int, length: int) -> bytes:
        if self._read_at is not None:
            data = self._read_at(position, length)
        else:
            self._file.seek(position)
            data = self._file.read(length)
            while len(data) < length and (more := self._file.read(length - len(data))):
                data += more
        with self._counting:
            self.bytes_read += len(data)
        return data


class _Kept:
    """The first pieces fetched, as far as there is room; none overlaps another."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._starts: list[int] = []
        self._pieces: list[bytes] = []

    def add(self, start: int, data: bytes) -> None:
        if len(data) <= self.room:
            number = bisect_right(self._starts, start)
            self._starts.insert(number, start)
            self._pieces.insert(number, data)
            self.room -= len(data)

    def find(self, position: int) -> tuple[int, bytes] | None:
        number = bisect_right(self._starts, position) - 1
        if number < 0 or position >= self._starts[number] + len(self._pieces[number]):
            return None
        return self._starts[number], self._pieces[number]

    def missing(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range that no piece has."""
        while start < end:
            if (found := self.find(start)) is not None:
                start = found[0] + len(found[1])
            else:
                stop = self.next_after(start, end)
                yield start, stop
                start = stop

    def next_after(self, position: int, end: int) -> int:
        """Where the next piece begins; `end` where none does before it."""
        number = bisect_right(self._starts, position)
        return min(self._starts[number], end) if number < len(self._starts) else end


class _DiskFile(io.FileIO):
    """A local file whose errors say which item they concern."""

    def __init__(self, path: Path, label: str) -> None:
        super().__init__(path, "rb")
        self.label = label

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size) or b""
        except OSError as error:
            raise _unreadable(self.label, error) from error


def _on_disk(path: Path, label: str) -> BinaryIO:
    try:
        return cast("BinaryIO", _DiskFile(path, label))
    except (OSError, ValueError) as error:
        raise _unreadable(label, error) from error


def _unreadable(label: str, error: Exception) -> UnreadableMedia:
    return UnreadableMedia(label, f"the file cannot be read: {getattr(error, 'strerror', None) or error}")

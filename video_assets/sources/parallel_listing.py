"""A store's keys in their order, listed by many requests at a time, in bounded memory.

The keys are cut into spans: those after one string and up to another. A span is listed up to `PIECE_KEYS` keys; if it
has more, sub-prefixes are looked for in what is left (`ObjectStore.list_level`), level by level from where its ends
part, until one gives some. Each becomes the end of a span; small ones share a span, so that every span is worth its
request. What has no sub-prefixes left is listed page after page.

Threads, not processes. Reading a key from a page takes about 5 µs on S3 and OSS, so that one core reads 200,000 keys
a second, while the listing of one prefix brings 1,000 keys a round trip (33,000 a second at 30 ms). A process would
have to send its keys, which takes 2 µs at best to take in and make ObjectInfos of; and reading a key by the path
template, which the same core does after, takes several times what its page takes.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

from video_assets.storage.object_store import CommonPrefix, ObjectInfo, ObjectStore

PIECE_KEYS = 8000
"""Keys that a span is listed by: eight pages of S3 and OSS. The last page of a span may reach into the next."""

THREADS = 8

PIECES_AHEAD = 12
"""Pieces under way or waiting for their turn: at 350 bytes a key, 34 MB."""

FILLED = 0.9
"""Sub-prefixes that share a span are to fill so much of a piece, since the next ones may be larger."""

_CHILDREN_SEEN = 200
"""Sub-prefixes of a piece that are counted to tell how large they are."""

_PAGE_KEYS = 1000
"""What S3 and OSS put into one page: no more than one is read beyond a span's end."""

Report = Callable[[int, str], None]
"""Takes how many keys were listed so far, and the last of them."""


def list_in_parallel(
    store: ObjectStore, prefix: str = "", *, start_after: str = "", report: Report | None = None
) -> Iterator[ObjectInfo]:
    """As `ObjectStore.list`: the same objects in the same order. A listing that broke off goes on after its last key.

    A folder of a disk is listed by this thread alone: more threads would make it no faster.
    """
    is_disk = store.local_path("any") is not None
    infos = (
        store.list(prefix, start_after=start_after) if is_disk else ParallelListing(store, prefix).objects(start_after)
    )
    return infos if report is None else _reported(infos, report)


def _reported(infos: Iterator[ObjectInfo], report: Report) -> Iterator[ObjectInfo]:
    for number, info in enumerate(infos, start=1):
        yield info
        if number % PIECE_KEYS == 0:
            report(number, info.key)


@dataclass(eq=False, slots=True)
class _Span:
    """The keys after `after` and up to `through`, that one included; to the end where it is empty.

    In folders above `folder` there is no sub-prefix to part the span by, and none after the objects that lie in `flat`
    itself, as far as was looked.
    """

    after: str
    through: str
    folder: str
    flat: str | None = None
    future: Future[_Piece] | None = None
    is_taken: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether its piece is there, or what went wrong."""
        return self.future is not None and self.future.done()


@dataclass(frozen=True, slots=True)
class _Piece:
    """The first keys of a span, and the spans of what is left."""

    objects: list[ObjectInfo]
    rest: list[_Span]


@dataclass
class ParallelListing:
    """One listing of the keys with `prefix`."""

    store: ObjectStore
    prefix: str = ""
    piece_keys: int = PIECE_KEYS
    threads: int = THREADS
    _stopped: threading.Event = field(default_factory=threading.Event)

    def objects(self, start_after: str = "") -> Iterator[ObjectInfo]:
        """The objects after `start_after`. A listing of no more than a piece starts no thread."""
        first = []
        with closing(self._list(start_after)) as infos:
            for info in islice(infos, self.piece_keys):
                first.append(info)
                yield info
        if len(first) < self.piece_keys:
            return
        whole = _Span(start_after, "", self.prefix)
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="listing")
        try:
            for piece in self._in_order(self._split(whole, first), pool):
                yield from piece.objects
        finally:
            self._stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _in_order(self, spans: list[_Span], pool: ThreadPoolExecutor) -> Iterator[_Piece]:
        while spans:
            self._start(spans, pool)
            if not spans[0].is_ready:
                under_way = [span.future for span in spans if span.future is not None and not span.is_ready]
                wait(under_way, return_when=FIRST_COMPLETED)
            # From the end, since what is left of a span goes behind it.
            for place in reversed(range(len(spans))):
                span = spans[place]
                if span.future is not None and span.is_ready and not span.is_taken and not span.future.exception():
                    span.is_taken = True
                    spans[place + 1 : place + 1] = span.future.result().rest
            head = spans[0]
            if head.future is not None and (head.is_taken or head.is_ready):
                piece = head.future.result()
                if head.is_taken:
                    del spans[0]
                    yield piece

    def _start(self, spans: list[_Span], pool: ThreadPoolExecutor) -> None:
        """Sets threads to the first spans that none has, as far as there is room for what they find."""
        room = PIECES_AHEAD - sum(span.future is not None for span in spans)
        for span in islice((span for span in spans if span.future is None), max(0, room)):
            span.future = pool.submit(self._piece, span)

    def _piece(self, span: _Span) -> _Piece:
        objects: list[ObjectInfo] = []
        through = _sortable(span.through)
        with closing(self._list(span.after)) as infos:
            while not self._stopped.is_set():
                page = list(islice(infos, min(_PAGE_KEYS, self.piece_keys - len(objects))))
                if not page or (through and _sortable(page[-1].key) > through):
                    end = bisect_right(page, through, key=_sortable_key) if page else 0
                    return _Piece(objects + page[:end], [])
                objects += page
                if len(objects) == self.piece_keys:
                    return _Piece(objects, self._split(span, objects))
        return _Piece(objects, [])

    def _split(self, span: _Span, objects: list[ObjectInfo]) -> list[_Span]:
        """The spans of what comes after the first objects of a span."""
        last = objects[-1].key
        folders = self._folders_of(last)
        if folders[-1] == span.flat:
            return [_Span(last, span.through, span.folder, span.flat)]
        for depth, folder in enumerate(folders):
            if span.folder.startswith(folder) and folder != span.folder and last.startswith(span.folder):
                continue
            stride = self._stride(folder, objects)
            if marks := self._marks(folder, last, span.through, stride):
                inner = folders[min(depth + 1, len(folders) - 1)]
                ends = [last, *marks, span.through]
                # Of spans with one sub-prefix each, the next look is taken inside that.
                inside = [inner, *(marks if stride == 1 else [folder] * len(marks))]
                return [_Span(*span_of) for span_of in zip(ends, ends[1:], inside, strict=False)]
        return [_Span(last, span.through, span.folder, folders[-1])]

    def _folders_of(self, key: str) -> list[str]:
        """The listing's prefix, and the sub-prefixes below it that lead to a key, outermost first."""
        begin, folders = len(self.prefix), [self.prefix]
        while (end := key.find("/", begin)) >= 0:
            begin = end + 1
            folders.append(key[:begin])
        return folders

    def _stride(self, folder: str, objects: list[ObjectInfo]) -> int:
        """How many sub-prefixes of a folder make a span, if they are as large as those just seen.

        The objects are in order and the last is in the folder, so those in it are at the end, child by child.
        """
        begin, children = len(folder), 0
        at = first = bisect_left(objects, _sortable(folder), key=_sortable_key)
        while at < len(objects) and children < _CHILDREN_SEEN:
            key, children = objects[at].key, children + 1
            end = key.find("/", begin) + 1
            at = bisect_left(objects, _after_all(key[:end]), at, key=_sortable_key) if end else at + 1
        return max(1, int(FILLED * self.piece_keys * children / max(1, at - first)))

    def _marks(self, folder: str, last: str, through: str, stride: int) -> list[str]:
        """Every `stride`-th sub-prefix of a folder after `last` and before `through`; enough for all threads."""
        end, marks = _sortable(through), []
        entries = self.store.list_level(folder, start_after=last)
        for entry in islice(entries, max(1000, stride * self.threads)):
            name = entry.prefix if isinstance(entry, CommonPrefix) else entry.key
            if end and _sortable(name) >= end:
                break
            if isinstance(entry, CommonPrefix):
                marks.append(name)
        return marks[::stride] if len(marks) > stride else marks[:1]

    def _list(self, after: str) -> Generator[ObjectInfo]:
        # Every store's `list` is a generator, which can be closed before its end.
        return cast("Generator[ObjectInfo]", self.store.list(self.prefix, start_after=after))


def _sortable_key(info: ObjectInfo) -> bytes:
    return _sortable(info.key)


def _after_all(folder: str) -> bytes:
    """What sorts after every key in a folder, and before any other."""
    return _sortable(folder)[:-1] + b"0"


def _sortable(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")

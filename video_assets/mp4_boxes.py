"""The outermost boxes of an MP4 or MOV file, from their headers alone (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

FIRST_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
"""What a file of this format may begin with."""


class Box(NamedTuple):
    """One box: its type, where it starts, where what it holds begins, and where it says that it ends."""

    kind: bytes
    start: int
    content: int
    end: int


def outer_boxes(read_at: Callable[[int, int], bytes], size: int) -> Iterator[Box]:
    """The outermost boxes in file order, up to the file's end or the first that cannot be one.

    Args:
        read_at: reads `length` bytes at `position`, fewer at the end of the file.
        size: of the file, in bytes.
    """
    at = 0
    while True:
        head = read_at(at, 16)
        kind, length, begin = head[4:8], int.from_bytes(head[:4], "big"), 8
        if at == 0 and kind not in FIRST_BOXES:
            return
        if length == 1:
            length, begin = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = size - at
        if len(head) < begin or length < begin:
            return
        yield Box(kind, at, at + begin, at + length)
        at += length
        if at >= size:
            return

"""Where an MP4 or MOV file keeps its media data, from the headers of its outermost boxes (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

_MANY_BOXES, _FAR_BYTES = 64, 128 * 1024
"""Where this many boxes are not this far apart on average, hopping from one to the next costs more than reading on."""

_FIRST_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def media_data(read_at: Callable[[int, int], bytes], size: int) -> list[tuple[int, int]]:
    """Start and end of what the `mdat` boxes of a file hold, in file order.

    Empty for a file of another format, without `moov`, or in small fragments.

    Args:
        read_at: reads `length` bytes at `position`, fewer at the end of the file.
        size: of the file, in bytes.
    """
    at, has_tables = 0, False
    found: list[tuple[int, int]] = []
    for number in itertools.count():
        head = read_at(at, 16)
        kind, length, begin = head[4:8], int.from_bytes(head[:4], "big"), 8
        if (number == 0 and kind not in _FIRST_BOXES) or (number > _MANY_BOXES and at < number * _FAR_BYTES):
            return []
        if length == 1:
            length, begin = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = size - at
        if len(head) < begin or length < begin:
            break
        has_tables |= kind == b"moov"
        if kind == b"mdat" and at + begin < size:
            found.append((at + begin, min(at + length, size)))
        at += length
        if at >= size:
            break
    return found if has_tables else []

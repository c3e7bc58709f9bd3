"""Where an MP4 or MOV file keeps its media data."""

from __future__ import annotations

from collections.abc import Callable

from video_assets.mp4_boxes import outer_boxes

_MANY_BOXES, _FAR_BYTES = 64, 128 * 1024
"""Where this many boxes are not this far apart on average, hopping from one to the next costs more than reading on."""


def media_data(read_at: Callable[[int, int], bytes], size: int) -> list[tuple[int, int]]:
    """Start and end of what the `mdat` boxes of a file hold, in file order.

    Empty for a file of another format, without `moov`, or in small fragments.

    Args:
        read_at: reads `length` bytes at `position`, fewer at the end of the file.
        size: of the file, in bytes.
    """
    has_tables = False
    found: list[tuple[int, int]] = []
    for number, box in enumerate(outer_boxes(read_at, size)):
        if number > _MANY_BOXES and box.start < number * _FAR_BYTES:
            return []
        has_tables |= box.kind == b"moov"
        if box.kind == b"mdat" and box.content < size:
            found.append((box.content, min(box.end, size)))
    return found if has_tables else []

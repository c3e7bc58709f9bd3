"""Common prefixes from a plain listing, for delimiters that a store cannot roll up itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from video_assets.storage.object_store import CommonPrefix, ObjectInfo


def roll_up(
    objects: Iterable[ObjectInfo], prefix: str, delimiter: str, start_after: str
) -> Iterator[ObjectInfo | CommonPrefix]:
    """`objects`, all with `prefix` and in key order, as `ObjectStore.list_level` yields them.

    Raises:
        ValueError: the delimiter is empty.
    """
    if not delimiter:
        raise ValueError("the delimiter is empty")
    last = ""
    for info in objects:
        head, found, _ = info.key[len(prefix) :].partition(delimiter)
        rolled = prefix + head + found
        if not found:
            yield info
        elif rolled != last and rolled.encode("utf-8", "surrogateescape") > start_after.encode(
            "utf-8", "surrogateescape"
        ):
            yield CommonPrefix(rolled)
        last = rolled

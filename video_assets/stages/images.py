"""The images that frame rows name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store, split_uri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_images(frames: Iterable[dict[str, Any]]) -> Iterator[NDArray[np.uint8]]:
    """The pixels of frame rows, (height, width, 3) RGB, in their order."""
    from video_assets.video.image import decode_image

    for image_url, of_one_object in groupby(frames, key=itemgetter("image_url")):
        store, key = _object(image_url)
        for frame in of_one_object:
            yield decode_image(_part(store, key, frame))


def read_image_bytes(frame: dict[str, Any]) -> bytes:
    """The encoded image of a frame row: a range of a shard, or an object of its own."""
    return _part(*_object(frame["image_url"]), frame)


def _object(uri: str) -> tuple[ObjectStore, str]:
    root, key = split_uri(uri)
    return open_store(root), key


def _part(store: ObjectStore, key: str, frame: dict[str, Any]) -> bytes:
    return store.get(key, start=frame["image_offset"] or 0, length=frame["image_size_bytes"])

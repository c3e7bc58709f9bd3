"""The images that frame rows name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from video_assets.storage.registry import open_store, split_uri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_images(frames: Iterable[dict[str, Any]]) -> Iterator[NDArray[np.uint8]]:
    """The pixels of frame rows, (height, width, 3) RGB, in their order."""
    from video_assets.video.image import decode_image

    for frame in frames:
        yield decode_image(read_image_bytes(frame))


def read_image_bytes(frame: dict[str, Any]) -> bytes:
    """The encoded image of a frame row: a range of a shard, or an object of its own."""
    root, key = split_uri(frame["image_url"])
    return open_store(root).get(key, start=frame["image_offset"] or 0, length=frame["image_size_bytes"])

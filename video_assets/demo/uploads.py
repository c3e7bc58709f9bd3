"""The demo's footage in a place of the user's choice: a bucket, or a folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from video_assets.demo.footage import lay_out
from video_assets.errors import VideoAssetsError
from video_assets.path_template import PathTemplate
from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store


class PlaceTaken(VideoAssetsError):
    """There are objects in the place that are not the demo's."""


def lay_out_at(videos: list[Path], place: str, template: PathTemplate) -> int:
    """Puts the uploads of `footage.lay_out` into a store, where it has none of them yet; returns how many there are.

    Nothing is written over. One that was broken off goes on.

    Raises:
        PlaceTaken: the place holds an object that the demo would not put there.
        FootageMissing: one of the videos is none, or cannot be cut.
        StoreError: the place cannot be listed or written to.
    """
    with tempfile.TemporaryDirectory(prefix="video_assets_demo_") as folder:
        root = Path(folder) / "uploads"
        lay_out(videos, root, template)
        files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
        store = open_store(place, create=True)
        there = _own_keys(store, {key: path.stat().st_size for key, path in files.items()})
        for key, path in files.items():
            if key not in there:
                store.put(key, path.read_bytes(), if_absent=True)
    return len(files)


def _own_keys(store: ObjectStore, sizes: dict[str, int]) -> set[str]:
    """The keys of the demo that the place holds; the first of another's ends the listing."""
    own = set()
    for info in store.list():
        if sizes.get(info.key) != info.size_bytes:
            cause = f"holds {store.uri_of(info.key)}, which is not the demo's"
            raise PlaceTaken(store.uri, cause, "Give a --source that is empty, or does not exist.")
        own.add(info.key)
    return own

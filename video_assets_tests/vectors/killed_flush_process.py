"""Run as a process of its own: `python -m … LOCATION`, writes second-generation points and dies of kill −9
after the engine took them, before they are flushed: the moment when memory and disk differ most."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import qdrant_edge

from video_assets.vectors.registry import open_vector_index
from video_assets_tests.vectors.fleet_points import COLLECTION, frame_point


class DyingShard:
    """A shard that takes its process down where it should flush."""

    def __init__(self, shard: Any) -> None:
        self._shard = shard

    @classmethod
    def load(cls, path: str) -> DyingShard:
        return cls(REAL.load(path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)

    def flush(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    REAL = qdrant_edge.EdgeShard
    qdrant_edge.EdgeShard = DyingShard  # type: ignore[misc]
    open_vector_index(sys.argv[1]).upsert(COLLECTION, [frame_point("veh-7", frame, 2) for frame in range(200)])

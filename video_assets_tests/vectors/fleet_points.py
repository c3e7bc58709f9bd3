"""Points of made-up frames, and what an index really holds, read past the code under test."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from video_assets.vectors.vector_index import Point

COLLECTION = "mobilenet_v2"
DATE = "2026-01-03"
DIM = 32


def frame_id(vehicle: str, frame: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{vehicle}/{frame}"))


def frame_vector(vehicle: str, frame: int, generation: int, dim: int = DIM) -> NDArray[np.float32]:
    seed = [*vehicle.encode(), frame, generation]
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


def frame_point(vehicle: str, frame: int, generation: int = 1, **payload: Any) -> Point:
    """A point of partition DATE|vehicle; its row hash tells the generation."""
    keys = {"date": DATE, "vehicle": vehicle, "row_hash": f"g{generation}"}
    fields = {"camera": "front", "frame": frame, **keys, **payload}
    return Point(frame_id(vehicle, frame), frame_vector(vehicle, frame, generation), fields)


def wanted_rows(vehicle: str, frames: Iterable[int], generation: int) -> dict[str, str]:
    """Id → row hash. Every third frame keeps the hash of its first generation."""
    return {frame_id(vehicle, frame): f"g{1 if frame % 3 == 0 else generation}" for frame in frames}


class Loader:
    """What `sync_partition` asks for points; `asked` is what it asked for, None before."""

    def __init__(self, vehicle: str, frames: Iterable[int], wanted: Mapping[str, str]) -> None:
        self._vehicle = vehicle
        self._frames = list(frames)
        self._wanted = wanted
        self.asked: set[str] | None = None

    def __call__(self, ids: Set[str]) -> Iterator[Point]:
        assert self.asked is None
        self.asked = set(ids)
        for frame in self._frames:
            point = frame_id(self._vehicle, frame)
            if point in self.asked:
                yield frame_point(self._vehicle, frame, int(self._wanted[point].removeprefix("g")))


def contents(location: str) -> dict[str, tuple[tuple[float, ...], dict[str, Any]]]:
    """Id → unit vector and payload of every point of COLLECTION, straight from engine or server."""
    records = _server_records(location) if location.startswith("http") else _edge_records(Path(location))
    return {str(record.id): (tuple(np.float32(record.vector).tolist()), dict(record.payload)) for record in records}


def _edge_records(directory: Path) -> list[Any]:
    from qdrant_edge import EdgeShard, ScrollRequest

    shard = EdgeShard.load(str(directory / COLLECTION / "shard"))
    records, _ = shard.scroll(ScrollRequest(limit=100_000, with_payload=True, with_vector=True))
    shard.close()
    return list(records)


def _server_records(url: str) -> list[Any]:
    from qdrant_client import QdrantClient

    client = QdrantClient(url=url, check_compatibility=False)
    records, _ = client.scroll(COLLECTION, limit=100_000, with_payload=True, with_vectors=True)
    client.close()
    return list(records)

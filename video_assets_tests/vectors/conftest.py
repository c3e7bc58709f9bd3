"""The two kinds of index that one contract holds for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.vector_index import VectorIndex
from video_assets_tests.servers.qdrant_server import QdrantServer
from video_assets_tests.vectors.fleet_points import COLLECTION, DIM


@pytest.fixture(params=["embedded", "server"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty index is: a directory, or a server's URL."""
    if request.param == "embedded":
        yield str(tmp_path / "index")
    else:
        with QdrantServer(tmp_path / "server") as server:
            yield server.url


@pytest.fixture
def index(location: str) -> Iterator[VectorIndex]:
    """An index with the empty collection COLLECTION of DIM dimensions."""
    opened = open_vector_index(location)
    opened.ensure(COLLECTION, DIM)
    yield opened
    opened.close()

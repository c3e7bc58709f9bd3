"""What only a server can do to its client: be away, be slow, refuse."""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from video_assets.vectors import server_index
from video_assets.vectors.index_errors import (
    CollectionMismatchError,
    IndexDeniedError,
    IndexLocationError,
    IndexUnreachableError,
    VectorIndexError,
)
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.vector_index import VectorIndex
from video_assets_tests.servers.qdrant_server import QdrantServer, Refused
from video_assets_tests.vectors.fleet_points import COLLECTION, DATE, DIM, frame_point, frame_vector

KEY = "s3cret-key"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QdrantServer]:
    with QdrantServer(tmp_path / "server") as running:
        yield running


@pytest.fixture
def index(server: QdrantServer) -> Iterator[VectorIndex]:
    opened = open_vector_index(server.url)
    opened.ensure(COLLECTION, DIM)
    server.requests.clear()
    yield opened
    opened.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts."""
    monkeypatch.setattr(server_index, "_back_off", lambda state: 0.01)


def test_the_right_key_opens(tmp_path: Path) -> None:
    with QdrantServer(tmp_path / "server", api_key=KEY) as server:
        with pytest.warns(UserWarning, match="insecure"):
            index = open_vector_index(server.url, api_key=SecretStr(KEY))
        index.ensure(COLLECTION, DIM)
        assert index.upsert(COLLECTION, [frame_point("veh-7", 1)]) == 1
        index.close()


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize("key", [None, SecretStr("wr0ng-key")])
def test_a_wrong_key_is_said_so_once_and_not_shown(tmp_path: Path, key: SecretStr | None) -> None:
    with QdrantServer(tmp_path / "server", api_key=KEY) as server:
        index = open_vector_index(server.url, api_key=key)
        with pytest.raises(IndexDeniedError, match="API key") as caught:
            index.ensure(COLLECTION, DIM)
        assert len(server.requests) == 1
        assert "wr0ng-key" not in f"{caught.value!r}{index!r}{vars(index)!r}"
        index.close()


def test_no_server_is_reported_after_bounded_attempts(impatient: None) -> None:
    with socket.socket() as reserved:
        # Bound but not listening: connections are refused.
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        index = open_vector_index(url)
        asked_at = time.monotonic()
        with pytest.raises(IndexUnreachableError, match=r"4 attempts.*Check that the Qdrant server runs") as caught:
            index.query(COLLECTION, frame_vector("veh-7", 1, 1), limit=1)
        assert time.monotonic() - asked_at < 5
        assert caught.value.item == url
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        index.close()


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_index, "TIMEOUT_S", 1)
    monkeypatch.setattr(server_index, "RETRY_BUDGET_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        index = open_vector_index(f"http://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(IndexUnreachableError, match="timed out"):
            index.collections()
        index.close()


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_passing_trouble_is_waited_out(server: QdrantServer, index: VectorIndex, impatient: None, status: int) -> None:
    server.faults = [Refused(status, "busy") for _ in range(3)]
    assert index.upsert(COLLECTION, [frame_point("veh-7", 1)]) == 1
    assert index.count(COLLECTION) == 1


def test_lasting_trouble_is_reported(server: QdrantServer, index: VectorIndex, impatient: None) -> None:
    server.faults = [Refused(503, "loading") for _ in range(9)]
    with pytest.raises(IndexUnreachableError, match="503"):
        index.count(COLLECTION)
    assert len(server.requests) == server_index.ATTEMPTS


def test_retry_after_is_honoured(server: QdrantServer, index: VectorIndex, impatient: None) -> None:
    server.faults = [Refused(429, "slow down", {"Retry-After": "1"})]
    asked_at = time.monotonic()
    assert index.count(COLLECTION) == 0
    assert time.monotonic() - asked_at >= 1


def test_a_refusal_is_not_tried_again(server: QdrantServer, index: VectorIndex) -> None:
    server.faults = [Refused(400, "Wrong input: no such thing")]
    with pytest.raises(VectorIndexError, match="no such thing"):
        index.count(COLLECTION)
    assert len(server.requests) == 1


def test_a_collection_that_another_process_makes_first_is_taken(server: QdrantServer, index: VectorIndex) -> None:
    server.faults = []
    original = server.answer

    def answer(method: str, target: str, api_key: str | None, body: object) -> object:
        if target.endswith("/exists"):
            return {"exists": False}
        return original(method, target, api_key, body)

    server.answer = answer  # type: ignore[method-assign]
    index.ensure(COLLECTION, DIM)
    assert f"PUT /collections/{COLLECTION}" in server.requests


def test_a_collection_of_another_distance_is_refused(server: QdrantServer, index: VectorIndex) -> None:
    server.answer("PUT", "/collections/foreign", None, {"vectors": {"size": DIM, "distance": "Dot"}})
    with pytest.raises(CollectionMismatchError, match=r"Dot|DOT"):
        index.ensure("foreign", DIM)


def test_payload_indexes_are_made_once(server: QdrantServer, index: VectorIndex) -> None:
    index.ensure(COLLECTION, DIM)
    assert [request for request in server.requests if request.endswith("/index")] == []
    (schema,) = (server.answer("GET", f"/collections/{name}", None, {})["payload_schema"] for name in [COLLECTION])
    assert {field: entry["data_type"] for field, entry in schema.items()} == server_index.INDEXED_FIELDS


def test_request_bodies_stay_below_the_batch_size(
    server: QdrantServer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from video_assets.vectors import collection

    monkeypatch.setattr(collection, "BATCH_BYTES", 20_000)
    sizes: list[int] = []
    original = server.answer

    def answer(method: str, target: str, api_key: str | None, body: object) -> object:
        import json

        sizes.append(len(json.dumps(body, ensure_ascii=False).encode()))
        return original(method, target, api_key, body)

    server.answer = answer  # type: ignore[method-assign]
    text = "前" * 200
    points = [frame_point("veh-7", frame) for frame in range(60)]
    index.upsert(COLLECTION, (type(p)(p.id, p.vector, {**p.payload, "text": text}) for p in points))
    assert max(sizes) < 20_000
    assert sum(sizes) > 60_000


def test_a_restarted_server_is_found_again(tmp_path: Path, impatient: None) -> None:
    with QdrantServer(tmp_path / "server") as server:
        index = open_vector_index(server.url)
        index.ensure(COLLECTION, DIM)
        index.upsert(COLLECTION, [frame_point("veh-7", 1)])
        index.close()
    with QdrantServer(tmp_path / "server") as server:
        index = open_vector_index(server.url)
        assert len(index.partition_points(COLLECTION, DATE, "veh-7")) == 1
        index.close()


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("video_assets.vectors.registry.find_spec", lambda name: None)
    with pytest.raises(IndexLocationError, match=r"pip install 'video-assets\[qdrant\]'"):
        open_vector_index("http://127.0.0.1:6333")


@pytest.mark.parametrize("url", ["http://", "https:///path", "http://user:s3cret@host:6333"])
def test_urls_that_cannot_be_right_are_refused(url: str) -> None:
    with pytest.raises(IndexLocationError) as caught:
        open_vector_index(url)
    assert "s3cret" not in str(caught.value)

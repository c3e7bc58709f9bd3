"""What every vector index does, embedded or on a server (over real HTTP)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from video_assets.vectors import collection as collection_module
from video_assets.vectors import embedded_index, server_index
from video_assets.vectors.index_errors import (
    CollectionMismatchError,
    CollectionMissingError,
    InvalidInputError,
    VectorIndexError,
)
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.vector_index import EVERYTHING, Point, PointFilter, VectorIndex, epoch_us, point_id
from video_assets_tests.vectors.fleet_points import (
    COLLECTION,
    DATE,
    DIM,
    contents,
    frame_id,
    frame_point,
    frame_vector,
)

NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)


def test_ensure_makes_an_empty_collection_and_may_be_called_again(index: VectorIndex) -> None:
    index.ensure(COLLECTION, DIM)
    index.ensure("clip-b32", 8)
    assert index.collections() == ["clip-b32", COLLECTION]
    assert index.count(COLLECTION) == 0
    assert index.query(COLLECTION, frame_vector("veh-7", 1, 1), limit=3) == []
    assert index.partition_points(COLLECTION, DATE, "veh-7") == {}


def test_an_index_without_collections_lists_none(location: str) -> None:
    index = open_vector_index(location)
    assert index.collections() == []
    index.close()


def test_ensure_refuses_another_dimension(index: VectorIndex) -> None:
    with pytest.raises(CollectionMismatchError, match=COLLECTION):
        index.ensure(COLLECTION, DIM + 1)


def test_ensure_refuses_a_dimension_no_vector_has(index: VectorIndex) -> None:
    for dim in (0, -1, 65_537):
        with pytest.raises(InvalidInputError):
            index.ensure("other", dim)


def test_names_that_are_no_names_are_refused_everywhere(index: VectorIndex) -> None:
    for name in ("", "A", "../x", "a/b", "a b", ".tmp", "-a", "é", "a" * 64, "ok\n", "%2e%2e"):
        calls = [
            lambda name=name: index.ensure(name, DIM),
            lambda name=name: index.partition_points(name, DATE, "veh-7"),
            lambda name=name: index.upsert(name, [frame_point("veh-7", 1)]),
            lambda name=name: index.delete(name, [frame_id("veh-7", 1)]),
            lambda name=name: index.query(name, frame_vector("veh-7", 1, 1), limit=1),
            lambda name=name: index.count(name),
        ]
        for call in calls:
            with pytest.raises(InvalidInputError):
                call()


def test_a_missing_collection_is_said_so(index: VectorIndex) -> None:
    calls = [
        lambda: index.partition_points("absent", DATE, "veh-7"),
        lambda: index.upsert("absent", [frame_point("veh-7", 1)]),
        lambda: index.delete("absent", [frame_id("veh-7", 1)]),
        lambda: index.query("absent", frame_vector("veh-7", 1, 1), limit=1),
        lambda: index.count("absent"),
    ]
    for call in calls:
        with pytest.raises(CollectionMissingError, match=r"absent.*Materialize"):
            call()
    assert index.collections() == [COLLECTION]


def test_upsert_replaces_points_of_the_same_id(index: VectorIndex, location: str) -> None:
    assert index.upsert(COLLECTION, (frame_point("veh-7", frame, note="old") for frame in range(5))) == 5
    assert index.upsert(COLLECTION, [frame_point("veh-7", frame, 2) for frame in range(3)]) == 3
    assert index.count(COLLECTION) == 5
    held = contents(location)
    assert "note" not in held[frame_id("veh-7", 0)][1]
    assert held[frame_id("veh-7", 4)][1]["note"] == "old"
    np.testing.assert_allclose(held[frame_id("veh-7", 0)][0], _unit(frame_vector("veh-7", 0, 2)), rtol=0, atol=1e-6)


def test_many_batches_arrive_whole(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection_module, "BATCH_BYTES", 3_000)
    assert index.upsert(COLLECTION, (frame_point("veh-7", frame) for frame in range(40))) == 40
    assert index.count(COLLECTION) == 40


def test_points_outlive_the_index_object(index: VectorIndex, location: str) -> None:
    index.upsert(COLLECTION, [frame_point("veh-7", 1)])
    index.close()
    again = open_vector_index(location)
    assert again.count(COLLECTION) == 1
    assert again.query(COLLECTION, frame_vector("veh-7", 1, 1), limit=1)[0].id == frame_id("veh-7", 1)
    again.close()


def test_partition_points_reads_page_after_page(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_index, "SCROLL_PAGE", 7)
    monkeypatch.setattr(server_index, "SCROLL_PAGE", 7)
    index.upsert(COLLECTION, [frame_point("veh-7", frame) for frame in range(30)])
    index.upsert(COLLECTION, [frame_point("veh-8", frame) for frame in range(4)])
    index.upsert(COLLECTION, [frame_point("veh-7", 99, date="2026-01-04")])
    assert index.partition_points(COLLECTION, DATE, "veh-7") == {frame_id("veh-7", f): "g1" for f in range(30)}


def test_a_point_without_row_hash_is_listed_with_an_empty_one(index: VectorIndex) -> None:
    index.upsert(COLLECTION, [Point(frame_id("v", 1), frame_vector("v", 1, 1), {"date": DATE, "vehicle": "v"})])
    assert index.partition_points(COLLECTION, DATE, "v") == {frame_id("v", 1): ""}


def test_delete_takes_what_matches_and_counts_it(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_index, "DELETE_BATCH", 4)
    monkeypatch.setattr(server_index, "DELETE_BATCH", 4)
    index.upsert(COLLECTION, [frame_point("veh-7", frame) for frame in range(10)])
    index.upsert(COLLECTION, [frame_point("veh-8", frame) for frame in range(3)])
    every = [*(frame_id("veh-7", frame) for frame in range(6)), frame_id("veh-8", 0), frame_id("veh-9", 0)]
    assert index.delete(COLLECTION, every, where=PointFilter(vehicle="veh-7")) == 6
    assert index.count(COLLECTION, where=PointFilter(vehicle="veh-8")) == 3
    assert index.delete(COLLECTION, every) == 1
    assert index.delete(COLLECTION, every) == 0
    assert index.delete(COLLECTION, []) == 0
    assert set(index.partition_points(COLLECTION, DATE, "veh-7")) == {frame_id("veh-7", f) for f in range(6, 10)}


def test_unicode_and_every_kind_of_value_come_back(index: VectorIndex) -> None:
    payload: dict[str, Any] = {
        "camera": "передняя камера 前 🚗",
        "quote": '"\\/\n\t\x00\u2028',
        "float": 0.1,
        "integer": 2**53 + 1,
        "least": -(2**63),
        "truth": True,
        "nothing": None,
        "tags": ["ночь", "rain"],
        "no_tags": [],
    }
    index.upsert(COLLECTION, [frame_point("veh-7", 1, **payload), frame_point("veh-7", 2)])
    (hit,) = index.query(COLLECTION, frame_vector("veh-7", 2, 1), limit=5, where=PointFilter(camera=payload["camera"]))
    assert {field: hit.payload[field] for field in payload} == payload
    assert [type(hit.payload[field]) for field in payload] == [type(value) for value in payload.values()]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = vectors.astype(np.float64)
    unit: NDArray[np.float64] = exact / np.linalg.norm(exact, axis=-1, keepdims=True)
    return unit


def _corpus_payload(frame: int) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "vehicle": f"veh-{frame % 3}",
        "camera": ("front", "rear", "left", "right")[frame % 4],
        "date": f"2026-01-{3 + frame % 5:02d}",
        "clip_id": f"clip-{frame // 100}",
        "model_version": str(frame % 2),
    }
    if frame % 7:
        payload["captured_at"] = epoch_us(NOON + timedelta(seconds=frame))
    return payload


FILTERS = [
    EVERYTHING,
    PointFilter(vehicle="veh-1"),
    PointFilter(vehicle="veh-1", camera="rear", date="2026-01-04"),
    PointFilter(clip_id="clip-3", model_version="1"),
    PointFilter(start=NOON + timedelta(seconds=500)),
    PointFilter(end=NOON + timedelta(seconds=500), camera="front"),
    PointFilter(start=NOON + timedelta(seconds=500), end=NOON + timedelta(seconds=900), vehicle="veh-2"),
    PointFilter(vehicle="nobody"),
]


def _matches(where: PointFilter, payload: dict[str, Any]) -> bool:
    captured = payload.get("captured_at")
    return all(payload[field] == value for field, value in where.equals().items()) and (
        (where.start is None and where.end is None)
        or (
            captured is not None
            and (where.start is None or captured >= where.start.timestamp() * 1e6)
            and (where.end is None or captured < where.end.timestamp() * 1e6)
        )
    )


def test_queries_equal_brute_force(index: VectorIndex) -> None:
    vectors = np.random.default_rng(9).standard_normal((2_000, DIM)).astype(np.float32)
    ids = [frame_id("corpus", frame) for frame in range(2_000)]
    payloads = [_corpus_payload(frame) for frame in range(2_000)]
    index.upsert(COLLECTION, (Point(*row) for row in zip(ids, vectors, payloads, strict=True)))
    queries = np.random.default_rng(10).standard_normal((2, DIM)).astype(np.float32)
    for where in FILTERS:
        rows = [row for row, payload in enumerate(payloads) if _matches(where, payload)]
        assert index.count(COLLECTION, where=where) == len(rows)
        for query in queries:
            scores = _unit(vectors[rows]) @ _unit(query)
            order = np.argsort(-scores, kind="stable")[:25]
            hits = index.query(COLLECTION, query, limit=25, where=where)
            assert [hit.id for hit in hits] == [ids[rows[place]] for place in order]
            assert [hit.payload for hit in hits] == [payloads[rows[place]] for place in order]
            np.testing.assert_allclose([hit.score for hit in hits], scores[order], rtol=0, atol=1e-6)


def test_scores_are_cosines_whatever_the_lengths(index: VectorIndex) -> None:
    direction = frame_vector("veh-7", 1, 1)
    points = [
        Point(frame_id("veh-7", 1), direction * np.float32(1000), {}),
        Point(frame_id("veh-7", 2), direction * np.float32(-0.001), {}),
    ]
    index.upsert(COLLECTION, points)
    hits = index.query(COLLECTION, direction * np.float32(7), limit=2)
    assert [hit.score for hit in hits] == pytest.approx([1, -1], abs=1e-6)
    assert all(-1 <= hit.score <= 1 for hit in hits)


def test_equal_scores_come_in_the_order_of_ids(index: VectorIndex) -> None:
    same, other = frame_vector("veh-7", 1, 1), frame_vector("veh-7", 2, 1)
    ids = sorted(frame_id("veh-7", frame) for frame in range(100, 190))
    shuffled = np.random.default_rng(4).permutation(ids).tolist()
    index.upsert(COLLECTION, [Point(one, same, {}) for one in shuffled])
    index.upsert(COLLECTION, [Point(frame_id("veh-7", 2), other, {})])
    for limit in (1, 10, 89, 90):
        assert [hit.id for hit in index.query(COLLECTION, same, limit=limit)] == ids[:limit]
    assert [hit.id for hit in index.query(COLLECTION, other, limit=4)] == [frame_id("veh-7", 2), *ids[:3]]
    assert len(index.query(COLLECTION, same, limit=500)) == 91


def test_time_bounds_hold_to_the_microsecond(index: VectorIndex) -> None:
    index.upsert(COLLECTION, [frame_point("veh-7", 1, captured_at=epoch_us(NOON)), frame_point("veh-7", 2)])
    tick = timedelta(microseconds=1)
    elsewhere = NOON.astimezone(timezone(timedelta(hours=8)))
    counts = {
        PointFilter(start=NOON): 1,
        PointFilter(start=elsewhere): 1,
        PointFilter(start=NOON + tick): 0,
        PointFilter(end=NOON): 0,
        PointFilter(end=NOON + tick): 1,
        PointFilter(start=NOON, end=NOON + tick): 1,
        EVERYTHING: 2,
    }
    assert {where: index.count(COLLECTION, where=where) for where in counts} == counts


def test_vectors_without_direction_are_refused(index: VectorIndex) -> None:
    bad_vectors: list[Any] = [
        np.zeros(DIM, np.float32),
        np.full(DIM, np.nan, np.float32),
        np.full(DIM, np.inf, np.float32),
        np.ones(DIM, np.float64),
        np.ones((1, DIM), np.float32),
    ]
    for bad in bad_vectors:
        with pytest.raises(InvalidInputError, match=frame_id("veh-7", 1)):
            index.upsert(COLLECTION, [frame_point("veh-7", 2), Point(frame_id("veh-7", 1), bad, {})])
        with pytest.raises(InvalidInputError, match="query"):
            index.query(COLLECTION, bad, limit=1)
    assert index.count(COLLECTION) == 0


def test_a_vector_of_another_model_is_refused(index: VectorIndex) -> None:
    with pytest.raises(CollectionMismatchError, match=f"9 dimensions.*{DIM}"):
        index.upsert(COLLECTION, [Point(frame_id("veh-7", 1), np.ones(9, np.float32), {})])
    with pytest.raises(CollectionMismatchError):
        index.query(COLLECTION, np.ones(9, np.float32), limit=1)


def test_payloads_that_are_no_json_are_refused(index: VectorIndex) -> None:
    for value in (float("nan"), float("inf"), 2**63, {"a": 1}, [1], "\udcff", ["\udcff"], b"x"):
        with pytest.raises(InvalidInputError, match=frame_id("veh-7", 1)):
            index.upsert(COLLECTION, [frame_point("veh-7", 1, odd=value)])
    assert index.count(COLLECTION) == 0


def test_ids_that_would_come_back_changed_are_refused(index: VectorIndex) -> None:
    for bad in ("", "7", "abc", str(uuid.UUID(int=11)).upper(), uuid.UUID(int=11).hex):
        with pytest.raises(InvalidInputError):
            index.upsert(COLLECTION, [Point(bad, frame_vector("veh-7", 1, 1), {})])
        with pytest.raises(InvalidInputError):
            index.delete(COLLECTION, [bad])


def test_a_limit_below_one_is_refused(index: VectorIndex) -> None:
    for limit in (0, -1):
        with pytest.raises(InvalidInputError):
            index.query(COLLECTION, frame_vector("veh-7", 1, 1), limit=limit)


@pytest.mark.parametrize(
    "fields",
    [
        {"date": "2026-1-3"},
        {"date": "20260103"},
        {"date": "yesterday"},
        {"start": datetime(2026, 1, 3)},
        {"start": NOON, "end": NOON},
        {"camera": "\udcff"},
    ],
)
def test_filters_that_cannot_match_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        PointFilter(**fields)


def test_every_error_is_of_one_family(index: VectorIndex) -> None:
    with pytest.raises(VectorIndexError) as caught:
        index.count("absent")
    assert caught.value.remedy


def test_point_ids_tell_models_versions_and_frames_apart() -> None:
    ids = {
        point_id("m", "1", "x"),
        point_id("m", "1x", ""),
        point_id("m1", "", "x"),
        point_id("m", "2", "x"),
        point_id("m", "1", "y"),
    }
    assert len(ids) == 5
    assert point_id("mobilenet_v2", "1", "frame") == "682ce83c-93aa-503e-bc9a-3316d15a0b62"


def test_epoch_us_is_exact() -> None:
    assert epoch_us(datetime(2026, 1, 3, 12, 0, 0, 1, tzinfo=UTC)) == 1_767_441_600_000_001
    assert epoch_us(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1

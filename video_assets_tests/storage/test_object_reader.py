"""How many requests a reader of an object makes, and for how much; what it reads is in the stores' contract."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from video_assets.storage.object_reader import FIRST_REQUEST_BYTES, MAX_REQUEST_BYTES
from video_assets.storage.object_store import ObjectChanged
from video_assets_tests.storage.counting_store import CountingStore, DistantStore

KIB = 1024
SIZE = 12_000 * KIB


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    store = CountingStore(tmp_path)
    store.put("v.mp4", b"." * SIZE)
    return store


def test_opening_reads_nothing(store: CountingStore) -> None:
    with store.open("v.mp4") as reader:
        assert reader.seek(0, io.SEEK_END) == SIZE
    assert store.requests == []


def test_reading_on_in_small_steps_takes_few_requests(store: CountingStore) -> None:
    with store.open("v.mp4") as reader:
        while reader.read(8 * KIB):
            pass
    lengths = [length or 0 for _, length in store.requests]
    assert lengths == sorted(lengths)
    assert len(lengths) < 20
    assert lengths[-1] == MAX_REQUEST_BYTES


def test_a_look_at_one_place_fetches_little_and_once(store: CountingStore) -> None:
    with store.open("v.mp4") as reader:
        for place in (0, 9_000 * KIB, 5_000 * KIB):
            for offset in (0, 20, 1000, 40):
                reader.seek(place + offset)
                assert reader.read(16) == b"." * 16
    assert [start for start, _ in store.requests] == [0, 9_000 * KIB, 5_000 * KIB]
    assert store.requests[-1] == (5_000 * KIB, FIRST_REQUEST_BYTES)


def test_a_large_read_is_one_request_of_its_size(store: CountingStore) -> None:
    with store.open("v.mp4") as reader:
        reader.seek(1000)
        assert len(reader.read(7_000 * KIB)) == 7_000 * KIB
    assert store.requests == [(1000, 7_000 * KIB)]


def test_the_whole_object_is_one_request(store: CountingStore) -> None:
    with store.open("v.mp4") as reader:
        assert len(reader.read()) == SIZE
        assert reader.read() == b""
    assert len(store.requests) == 1


def test_a_closed_reader_is_not_read(store: CountingStore) -> None:
    reader = store.open("v.mp4")
    reader.close()
    with pytest.raises(ValueError):
        reader.read(1)


def test_a_local_disk_is_not_read_by_several_threads(store: CountingStore) -> None:
    with store.open("v.mp4") as reader:
        assert not hasattr(reader, "read_at")


def test_ranges_of_a_distant_object_are_exact_requests(store: CountingStore, tmp_path: Path) -> None:
    distant = DistantStore(tmp_path)
    with distant.open("v.mp4") as reader:
        read_at: Callable[[int, int], bytes] = reader.read_at  # type: ignore[attr-defined]
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda place: read_at(place, 100), range(0, SIZE, 500_000)))
        assert {len(data) for data in found} == {100}
        assert sorted(distant.requests) == [(place, 100) for place in range(0, SIZE, 500_000)]
        distant.put("v.mp4", b"another version")
        with pytest.raises(ObjectChanged):
            read_at(0, 10)

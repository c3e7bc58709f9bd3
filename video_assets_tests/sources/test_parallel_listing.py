"""Listing by many requests at a time gives what one after the other does, on every store."""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.sources.parallel_listing import ParallelListing, list_in_parallel
from video_assets.storage.object_store import CommonPrefix, ObjectInfo, ObjectStore, StoreUnavailable
from video_assets.storage.prefix_rollup import roll_up
from video_assets.storage.registry import open_store
from video_assets_tests.servers.oss_environment import oss_environment
from video_assets_tests.servers.oss_server_bucket import StoredObject
from video_assets_tests.servers.s3_server import boto_client

NAMES = st.sampled_from(["a", "a-old", "a0", "b", "é", "z z", "日", "f%41", "a!"])
TREES = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), max_size=60).map(dict.fromkeys).map(list)


class MemoryStore:
    """A bucket of keys alone, which counts requests and those at the same time, and pages as a bucket does."""

    def __init__(self, keys: list[str], fail_at: str = "") -> None:
        self.keys = sorted(keys, key=str.encode)
        self.requests = self.under_way = self.most = 0
        self.fail_at = fail_at
        self.gate = threading.Lock()

    def local_path(self, key: str) -> None:
        return None

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        found = (key for key in self.keys if key.startswith(prefix) and key.encode() > start_after.encode())
        while page := list(itertools.islice(found, 1000)):
            self._request()
            for key in page:
                if key == self.fail_at:
                    raise StoreUnavailable(key, "is away")
                yield ObjectInfo(key, 1, "e", datetime(2026, 1, 1, tzinfo=UTC))

    def list_level(
        self, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        # One page of a bucket holds 1000 entries, however many keys they stand for.
        self._request()
        after = start_after.encode()
        infos = (ObjectInfo(k, 1, "e", datetime(2026, 1, 1, tzinfo=UTC)) for k in self.keys if k.startswith(prefix))
        for entry in roll_up(infos, prefix, delimiter, start_after):
            if not isinstance(entry, ObjectInfo) or entry.key.encode() > after:
                yield entry

    def _request(self) -> None:
        with self.gate:
            self.requests += 1


def parallel(store: ObjectStore, prefix: str = "", start_after: str = "", piece: int = 3) -> list[ObjectInfo]:
    return list(ParallelListing(store, prefix, piece_keys=piece, threads=4).objects(start_after))


@settings(max_examples=60, deadline=None)
@given(keys=TREES.filter(bool), depth=st.integers(0, 3))
def test_sub_prefixes_are_counted_as_by_looking_at_each_key(keys: list[str], depth: int) -> None:
    listing = ParallelListing(MemoryStore(keys), piece_keys=1000)  # type: ignore[arg-type]
    objects = list(MemoryStore(keys).list())
    folders = listing._folders_of(objects[-1].key)
    folder = folders[min(depth, len(folders) - 1)]
    inside = [info.key for info in objects if info.key.startswith(folder)]
    children = len({key[: key.find("/", len(folder)) + 1] or key for key in inside})
    assert listing._stride(folder, objects) == max(1, int(0.9 * 1000 * children / len(inside)))


@settings(max_examples=60, deadline=None)
@given(keys=TREES, prefix=st.sampled_from(["", "a", "a/", "b/a"]), piece=st.integers(1, 5), cut=st.integers(0, 59))
def test_any_tree_is_listed_as_by_one_request_after_the_other(
    keys: list[str], prefix: str, piece: int, cut: int
) -> None:
    store: ObjectStore = MemoryStore(keys)  # type: ignore[assignment]
    expected = list(store.list(prefix))
    assert parallel(store, prefix, piece=piece) == expected
    if expected:
        after = expected[cut % len(expected)].key
        assert parallel(store, prefix, after, piece) == list(store.list(prefix, start_after=after))


def _tree(count: int) -> list[str]:
    keys = [f"veh-{n % 7}/2026-01-{n % 5 + 1:02d}/front/{n:06d} é+.mp4" for n in range(count)]
    return [*keys, *(f"flat/{n:06d}.mp4" for n in range(count)), "veh-1-old/x", "veh-1/", "z", "a%2Fb", "veh-1!"]


def test_a_disk_is_listed_the_same(tmp_path: Path) -> None:
    for key in [*_tree(60), os.fsdecode(b"veh-2/not-utf8-\xff/x"), os.fsdecode(b"\xc3/y")]:
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if not key.endswith("/"):
            path.write_bytes(b"x")
    store = open_store(str(tmp_path))
    expected = list(store.list())
    assert parallel(store) == expected
    assert list(list_in_parallel(store)) == expected


def test_a_bucket_of_s3_is_listed_the_same(s3_url: str, s3_bucket: str) -> None:
    root = uuid.uuid4().hex
    client = boto_client(s3_url)
    for key in _tree(40):
        client.put_object(Bucket=s3_bucket, Key=f"{root}/{key}", Body=b"x")
    store = open_store(f"s3://{s3_bucket}/{root}")
    expected = list(store.list())
    assert len(expected) == 85
    assert parallel(store) == expected
    assert parallel(store, "veh-1", piece=2) == list(store.list("veh-1"))


def test_a_bucket_of_oss_is_listed_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with oss_environment(monkeypatch) as server:
        bucket = server.buckets["fleet"]
        for key in _tree(1200):
            bucket.put(key, StoredObject.of(b"x", {}), forbid_overwrite=False)
        store = open_store(f"oss://{server.endpoint}/fleet")
        expected = list(store.list())
        assert len(expected) == 2405
        assert parallel(store, piece=300) == expected
        assert parallel(store, "veh-1", start_after="veh-1/2026-01-03", piece=100) == list(
            store.list("veh-1", start_after="veh-1/2026-01-03")
        )


def test_few_requests_are_added_to_those_that_pages_need() -> None:
    vehicles = MemoryStore([f"{v:03d}/{d:02d}/{n:03d}" for v in range(40) for d in range(10) for n in range(100)])
    assert len(parallel(vehicles, piece=8000)) == 40_000  # type: ignore[arg-type]
    assert vehicles.requests < 40 * 1.3
    flat = MemoryStore([f"{n:06d}" for n in range(30_000)])
    assert len(parallel(flat, piece=8000)) == 30_000  # type: ignore[arg-type]
    assert flat.requests < 30 * 1.2
    tiny = MemoryStore([f"{v:05d}/{n}" for v in range(4_000) for n in range(5)])
    assert len(parallel(tiny, piece=8000)) == 20_000  # type: ignore[arg-type]
    assert tiny.requests < 20 * 1.3


def test_a_prefix_is_listed_by_several_requests_at_a_time() -> None:
    class Meeting(MemoryStore):
        """Each later listing waits for another one to be under way too."""

        meeting = threading.Barrier(3)

        def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
            if start_after and start_after.partition("/")[0] in ("1", "2", "3"):
                self.meeting.wait(timeout=30)
            return super().list(prefix, start_after=start_after)

    store = Meeting([f"{v}/{n:02d}" for v in range(5) for n in range(10)])
    listing = ParallelListing(store, piece_keys=10, threads=8)  # type: ignore[arg-type]
    assert [info.key for info in listing.objects()] == store.keys


def test_what_goes_wrong_comes_in_its_turn_and_ends_the_threads() -> None:
    store = MemoryStore([f"{v}/{n:02d}" for v in range(9) for n in range(10)], fail_at="7/05")
    infos = ParallelListing(store, piece_keys=10, threads=4).objects()  # type: ignore[arg-type]
    found = [info.key for info in itertools.islice(infos, 70)]
    assert found == store.keys[:70]
    with pytest.raises(StoreUnavailable, match="away"):
        list(infos)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("listing")]


def test_a_listing_that_is_left_ends_its_threads() -> None:
    store = MemoryStore([f"{v}/{n:02d}" for v in range(9) for n in range(10)])
    infos = ParallelListing(store, piece_keys=10, threads=4).objects()  # type: ignore[arg-type]
    assert len(list(itertools.islice(infos, 25))) == 25
    infos.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("listing")]


def test_progress_is_told() -> None:
    store = MemoryStore([f"{v}/{n:04d}" for v in range(4) for n in range(5000)])
    told: list[tuple[int, str]] = []
    assert sum(1 for _ in list_in_parallel(store, report=lambda n, key: told.append((n, key)))) == 20_000  # type: ignore[arg-type]
    assert told == [(8000, "1/2999"), (16_000, "3/0999")]

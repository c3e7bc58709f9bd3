"""What every `ObjectStore` keeps. A store's test module derives from `ObjectStoreContract` and gives `store`.

The fixture `store` is an empty store that `open_store(store.uri)` reaches from another process too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import random
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from video_assets.storage.local_store import LocalStore
from video_assets.storage.object_store import (
    MAX_PART_NUMBER,
    MIN_PART_BYTES,
    CommonPrefix,
    InvalidKey,
    LockTimeout,
    ObjectChanged,
    ObjectExists,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    SizeMismatch,
    StoreError,
)
from video_assets.storage.part_uploads import Part
from video_assets.storage.registry import open_store
from video_assets_tests.storage import store_processes
from video_assets_tests.storage.store_processes import hear, kill, race, running

KEY = "date=2026-01-03/vehicle=veh-7/blobs/a b+é.bin"

DATA = bytes(range(251)) * 20_000

REFUSED_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../../b",
    "a/..",
    "./a",
    "a/./b",
    ".tmp/a",
    ".TMP/a",
    ".tmp",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\x85b",
    "a\\b",
    "..\\a",
    "a\udcffb",
    "a\ud800b",
    "é" * 513,
    "a/" + "b" * 256,
]

# Letters around "/" in byte order, and beyond one byte, two and three.
_NAMES = st.text(alphabet="-./0a~é\ufffd\U0001f600", min_size=1, max_size=3).filter(
    lambda name: "/" not in name and name not in (".", "..")
)
_KEYS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)
_TEXTS = st.text(alphabet="-./0a~é\ufffd\U0001f600", max_size=5)
# The suite is run by a class for each store, in one process.
_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
_FEW = settings(max_examples=30, deadline=None, suppress_health_check=_SHARED)


def _without_folder_conflicts(keys: set[str]) -> list[str]:
    """The keys without those that a disk cannot hold as it needs a folder of that name."""
    folders = {key[:position] for key in keys for position, letter in enumerate(key) if letter == "/"}
    return [key for key in keys if key not in folders]


def _rolled_up(keys: list[str], prefix: str, delimiter: str, start_after: str) -> list[str]:
    """The contract of `list_level`, by the book."""
    entries = set()
    for key in keys:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter)
            entries.add(prefix + head + found)
    return sorted(entry for entry in entries if entry > start_after)


def _names(entries: Iterator[ObjectInfo | CommonPrefix]) -> list[str]:
    return [entry.prefix if isinstance(entry, CommonPrefix) else entry.key for entry in entries]


def _keys(store: ObjectStore) -> list[str]:
    return [info.key for info in store.list()]


class ObjectStoreContract:
    """Derive, and give the fixture `store`."""

    # One object

    def test_put_head_get_and_list_agree(self, store: ObjectStore) -> None:
        before = datetime.now(UTC)
        info = store.put(KEY, b"bytes")
        assert (info.key, info.size_bytes) == (KEY, 5)
        assert abs(info.last_modified - before) < timedelta(minutes=1)
        assert info.last_modified.utcoffset() == timedelta(0)
        assert store.head(KEY) == info
        assert list(store.list()) == [info]
        assert store.get(KEY) == b"bytes"

    @pytest.mark.parametrize("chunks", [[], [b""], [b"a", b"", b"bc"], [b"x" * 3_000_000, b"y"]])
    def test_put_takes_chunks(self, store: ObjectStore, chunks: list[bytes]) -> None:
        assert store.put(KEY, iter(chunks)).size_bytes == sum(map(len, chunks))
        assert store.get(KEY) == b"".join(chunks) == b"".join(store.stream(KEY, chunk_bytes=1_000_000))

    def test_an_error_of_the_chunks_passes_and_leaves_the_old_object(self, store: ObjectStore) -> None:
        def chunks() -> Iterator[bytes]:
            yield b"new"
            raise ConnectionError("the source went away")

        old = store.put(KEY, b"old")
        with pytest.raises(ConnectionError, match="the source went away"):
            store.put(KEY, chunks())
        assert store.head(KEY) == old
        assert _keys(store) == [KEY]

    def test_what_is_missing_is_not_found(self, store: ObjectStore) -> None:
        store.put("a/b", b"")
        for key in ("nothing", "a", "a/c", "a/b/c", "a" * 255):
            with pytest.raises(ObjectNotFound, match=re.escape(store.uri_of(key))):
                store.head(key)
            with pytest.raises(ObjectNotFound):
                store.get(key)
            with pytest.raises(ObjectNotFound):
                next(store.stream(key))
            with pytest.raises(ObjectNotFound):
                store.open(key)
            with pytest.raises(ObjectNotFound):
                store.copy(key, "copied")
        assert _keys(store) == ["a/b"]

    def test_delete_is_idempotent_and_takes_one_object(self, store: ObjectStore) -> None:
        for key in ("a/b/c", "a/d", "a-b"):
            store.put(key, b"")
        for _ in range(2):
            store.delete("a/b/c")
            assert _keys(store) == ["a-b", "a/d"]
        store.delete("a/d/below-an-object")
        store.delete("a")
        assert _keys(store) == ["a-b", "a/d"]

    def test_a_key_is_free_again_when_the_objects_below_it_are_deleted(self, store: ObjectStore) -> None:
        store.put("a/b/c", b"")
        store.delete("a/b/c")
        store.put("a", b"now an object")
        assert _keys(store) == ["a"]

    def test_copy_is_an_object_of_its_own(self, store: ObjectStore) -> None:
        source = store.put("source", b"one")
        copied = store.copy("source", KEY)
        assert copied == store.head(KEY)
        store.put("source", b"two")
        assert store.get(KEY, etag=copied.etag) == b"one"
        assert copied.last_modified >= source.last_modified

    def test_every_overwrite_has_an_etag_of_its_own(self, store: ObjectStore) -> None:
        etags = [store.put(KEY, f"{number:04}".encode()).etag for number in range(100)]
        assert len(set(etags)) == 100

    def test_publishing_the_same_bytes_again_stamps_the_object_anew(self, store: ObjectStore) -> None:
        first = store.put(KEY, b"same").last_modified
        assert store.put(KEY, b"same").last_modified >= first

    # Keys and URIs

    @pytest.mark.parametrize("key", REFUSED_KEYS)
    def test_no_write_takes_a_hostile_key(self, store: ObjectStore, key: str) -> None:
        store.put("source", b"")
        with pytest.raises(InvalidKey):
            store.put(key, b"")
        with pytest.raises(InvalidKey):
            store.put(key, b"", if_absent=True)
        with pytest.raises(InvalidKey):
            store.multipart(key)
        with pytest.raises(InvalidKey):
            store.copy("source", key)
        with pytest.raises(InvalidKey) as error:
            store.delete(key)
        str(error.value).encode()  # can be printed
        assert _keys(store) == ["source"]

    @pytest.mark.parametrize("key", REFUSED_KEYS)
    def test_a_hostile_key_reads_nothing(self, store: ObjectStore, key: str) -> None:
        for read in (store.head, store.get, store.open, lambda key: next(store.stream(key))):
            with pytest.raises((InvalidKey, ObjectNotFound)) as error:
                read(key)
            str(error.value).encode()
        with contextlib.suppress(InvalidKey):
            assert list(store.list(key if key.endswith("/") else f"{key}/")) == []

    @pytest.mark.parametrize(
        "key",
        [
            "a",
            "é/ü",
            "a b",
            "a%20b",
            "a+b",
            "100%",
            "%2F",
            "a?b#c&d+e",
            "<&>\"'",
            "~",
            "a..b/..c/d.",
            "a:b",
            "🎥" * 60,
            "/".join(["k" * 199] * 5) + "k",
        ],
    )
    def test_an_unusual_key_is_taken(self, store: ObjectStore, key: str) -> None:
        store.put(key, key.encode())
        assert _keys(store) == [key]
        assert store.get(key) == key.encode()
        uri = store.uri_of(key)
        assert uri.isascii()
        assert uri.startswith(f"{store.uri}/")
        assert store.key_of(uri) == key

    def test_a_uri_of_another_store_has_no_key(self, store: ObjectStore) -> None:
        for uri in (store.uri, f"{store.uri}/", f"{store.uri}-2/a", "file:///elsewhere/a", "a", ""):
            assert store.key_of(uri) is None

    def test_a_store_travels_to_another_process(self, store: ObjectStore) -> None:
        info = store.put(KEY, b"bytes")
        assert not store.uri.endswith("/")
        for other in (open_store(store.uri), pickle.loads(pickle.dumps(store))):
            assert other.uri == store.uri
            assert other.head(KEY) == info

    # Listing

    @_FEW
    @given(keys=st.sets(_KEYS, max_size=8), prefix=_TEXTS, start_after=_TEXTS)
    def test_lists_are_those_of_sorted_keys(
        self, store: ObjectStore, keys: set[str], prefix: str, start_after: str
    ) -> None:
        kept = _without_folder_conflicts(keys)
        for key in kept:
            store.put(key, b"")
        try:
            _check_lists(store, sorted(kept, key=str.encode), prefix, start_after)
            for key in kept:  # prefixes and starts that match something
                _check_lists(store, sorted(kept, key=str.encode), key[: len(key) // 2 + 1], key)
                _check_lists(store, sorted(kept, key=str.encode), key[: key.rfind("/") + 1], "")
        finally:
            for key in kept:
                store.delete(key)
        assert _keys(store) == []

    def test_a_folder_sorts_by_its_slash(self, store: ObjectStore) -> None:
        keys = ["a-b", "a.txt", "a/b", "a/b.c", "a0", "b"]
        for key in reversed(keys):
            store.put(key, b"")
        assert _keys(store) == keys
        assert _names(store.list_level()) == ["a-b", "a.txt", "a/", "a0", "b"]

    def test_thousands_of_keys_are_listed_across_pages(self, store: ObjectStore) -> None:
        keys = [f"cam {number % 3}/é+{number:04}%" for number in range(2_300)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: store.put(key, b""), keys))
        keys.sort(key=str.encode)
        assert _keys(store) == keys
        assert [info.key for info in store.list("cam 1", start_after=keys[1_200])] == [
            key for key in keys if key.startswith("cam 1") and key > keys[1_200]
        ]
        assert _names(store.list_level()) == ["cam 0/", "cam 1/", "cam 2/"]
        assert _names(store.list_level(start_after="cam 0/")) == ["cam 1/", "cam 2/"]
        assert _names(store.list_level("cam 0/", delimiter="%"))[-1] == keys[766]

    def test_list_level_says_what_is_an_object(self, store: ObjectStore) -> None:
        info = store.put("a/b", b"1")
        store.put("a/c/d", b"2")
        assert list(store.list_level("a/")) == [info, CommonPrefix("a/c/")]
        assert list(store.list_level("a")) == [CommonPrefix("a/")]

    def test_a_folder_emptied_is_no_common_prefix(self, store: ObjectStore) -> None:
        store.put("a/b/c", b"")
        store.put("d", b"")
        store.delete("a/b/c")
        assert _names(store.list_level()) == ["d"]

    def test_a_listing_streams_while_objects_come_and_go(self, store: ObjectStore) -> None:
        for number in range(20):
            store.put(f"{number:02}/a", b"")
        listing = store.list()
        assert next(listing).key == "00/a"
        store.delete("19/a")
        store.put("00/b", b"")
        listed = {info.key for info in listing}
        assert {f"{number:02}/a" for number in range(1, 19)} <= listed

    # Reading

    @_FEW
    @given(start=st.integers(0, 120), length=st.none() | st.integers(0, 120))
    def test_a_range_is_a_slice(self, store: ObjectStore, start: int, length: int | None) -> None:
        data = bytes(range(100))
        with contextlib.suppress(ObjectExists):
            store.put(KEY, data, if_absent=True)
        expected = data[start:] if length is None else data[start : start + length]
        assert store.get(KEY, start=start, length=length) == expected

    def test_a_negative_range_is_refused(self, store: ObjectStore) -> None:
        store.put(KEY, b"bytes")
        with pytest.raises(ValueError, match="-1"):
            store.get(KEY, start=-1)
        with pytest.raises(ValueError, match="-1"):
            store.get(KEY, length=-1)

    def test_reads_are_conditional_on_the_etag(self, store: ObjectStore) -> None:
        old = store.put(KEY, b"old").etag
        new = store.put(KEY, b"new").etag
        for read in (
            lambda etag: store.get(KEY, etag=etag),
            lambda etag: b"".join(store.stream(KEY, etag=etag)),
            lambda etag: store.open(KEY, etag=etag).read(),
        ):
            assert read(new) == b"new"
            with pytest.raises(ObjectChanged, match="version"):
                read(old)

    def test_a_stream_never_mixes_two_versions(self, store: ObjectStore) -> None:
        old, new = b"o" * 3_000_000, b"n" * 3_000_000
        for etag in (store.put(KEY, old).etag, None):
            store.put(KEY, old)
            stream = store.stream(KEY, etag=store.head(KEY).etag if etag else None, chunk_bytes=500_000)
            read = next(stream)
            store.put(KEY, new)
            with contextlib.suppress(ObjectChanged):
                read += b"".join(stream)
                assert len(read) == len(old)
            assert set(read) == {ord("o")}

    def test_a_reader_never_mixes_two_versions(self, store: ObjectStore) -> None:
        store.put(KEY, b"o" * 5_000_000)
        with store.open(KEY) as reader:
            read = reader.read(10)
            store.put(KEY, b"n" * 5_000_000)
            reader.seek(4_000_000)
            with contextlib.suppress(ObjectChanged):
                read += reader.read(10)
        assert set(read) == {ord("o")}

    @_FEW
    @given(
        steps=st.lists(
            st.tuples(st.just("read"), st.integers(-1, 1_500_000))
            | st.tuples(st.sampled_from(["set", "current", "end"]), st.integers(-3_000_000, 3_000_000)),
            max_size=12,
        )
    )
    def test_the_reader_is_the_bytes(self, store: ObjectStore, steps: list[tuple[str, int]]) -> None:
        data = b"".join(number.to_bytes(4, "big") for number in range(600_000))
        with contextlib.suppress(ObjectExists):
            store.put(KEY, data, if_absent=True)
        expected = io.BytesIO(data)
        with store.open(KEY) as reader:
            assert reader.seekable()
            assert reader.readable()
            for step, number in steps:
                if step == "read":
                    assert reader.read(number) == expected.read(number)
                    continue
                origin = {"set": 0, "current": expected.tell(), "end": len(data)}[step]
                place = max(0, origin + number)
                assert reader.seek(place) == expected.seek(place)
                assert reader.seek(place - len(data), io.SEEK_END) == place or place < 0
            assert reader.tell() == expected.tell()

    def test_the_reader_refuses_to_seek_before_the_start(self, store: ObjectStore) -> None:
        store.put(KEY, b"bytes")
        with store.open(KEY) as reader:
            for whence in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
                with pytest.raises((ValueError, OSError)):
                    reader.seek(-6, whence)
            assert reader.read() == b"bytes"

    def test_a_reader_reads_many_places_at_a_time(self, store: ObjectStore) -> None:
        data = b"".join(number.to_bytes(4, "big") for number in range(50_000))
        store.put(KEY, data)
        places = [(37 * number % 190_000, 100 + number) for number in range(200)] + [(len(data) - 5, 50), (10**9, 5)]
        with store.open(KEY) as reader, ThreadPoolExecutor(8) as threads:
            read_at = getattr(reader, "read_at", None)
            assert (read_at is None) == (store.local_path(KEY) is not None)
            if read_at is None:
                pytest.skip("this store is a local disk")
            reader.seek(17)
            found = threads.map(lambda place: read_at(*place), places)
            assert list(found) == [data[start : start + length] for start, length in places]
            assert reader.read(3) == data[17:20]
            store.put(KEY, data[::-1])
            with pytest.raises(ObjectChanged):
                read_at(0, 10)

    def test_local_path_is_the_file_or_none(self, store: ObjectStore) -> None:
        store.put(KEY, b"bytes")
        path = store.local_path(KEY)
        assert path is None or path.read_bytes() == b"bytes"

    # Publishing

    def test_a_reader_sees_whole_versions_only(self, store: ObjectStore) -> None:
        versions = [bytes([65 + number % 26]) * (10_000 + 317 * number) for number in range(200)]
        store.put(KEY, versions[0])
        seen = set()
        with running(store_processes.overwrite, store.uri, KEY, versions) as (_, pipe):
            hear(pipe)
            pipe.send("go")
            while not pipe.poll():
                for read in (store.get(KEY), b"".join(store.stream(KEY, chunk_bytes=4_096))):
                    assert read in versions
                    seen.add(len(read))
            assert hear(pipe) == "done"
        assert len(seen) > 1
        assert store.get(KEY) == versions[-1]

    def test_putting_one_key_at_once_leaves_one_of_the_objects(self, store: ObjectStore) -> None:
        versions = [[bytes([65 + process]) * 50_000] * 20 for process in range(3)]
        words = race(store_processes.overwrite, *((store.uri, KEY, version) for version in versions))
        assert words == ["done"] * 3
        assert store.get(KEY) in [version[0] for version in versions]
        assert _keys(store) == [KEY]
        assert store.sweep() == 0

    def test_put_and_delete_in_one_folder_do_not_disturb_each_other(self, store: ObjectStore) -> None:
        def put() -> None:
            for _ in range(100):
                store.put("a/b/new", b"new")

        writer = threading.Thread(target=put)
        writer.start()
        while writer.is_alive():
            store.delete("a/b/new")
        writer.join()
        store.put("a/b/new", b"new")
        assert _keys(store) == ["a/b/new"]

    def test_if_absent_leaves_what_is_there(self, store: ObjectStore) -> None:
        first = store.put(KEY, b"first", if_absent=True)
        with pytest.raises(ObjectExists):
            store.put(KEY, b"second", if_absent=True)
        assert store.head(KEY) == first
        assert store.get(KEY) == b"first"
        assert _keys(store) == [KEY]

    def test_if_absent_has_one_winner(self, store: ObjectStore) -> None:
        if not store.conditional_put:
            pytest.skip("this store decides if_absent in two steps")
        keys = [f"race/{number}" for number in range(50)]
        names = [b"one", b"two", b"three"]
        said = race(store_processes.race_if_absent, *((store.uri, keys, name) for name in names))
        won = dict(zip(names, said, strict=True))
        assert sorted(key for keys_won in won.values() for key in keys_won) == sorted(keys)
        for name, keys_won in won.items():
            for key in keys_won:
                assert store.get(key) == name

    # Parts

    # Copies between stores

    @pytest.mark.parametrize("size", [0, 1, 1_000_000, 13_000_001])
    def test_an_object_goes_to_a_disk_whole(self, store: ObjectStore, tmp_path: Path, size: int) -> None:
        data = random.Random(size).randbytes(size)
        info, disk, digest = store.put("a.mp4", data), LocalStore(tmp_path / "disk", create=True), hashlib.sha256()
        copied = disk.put_from("b.mp4", store, "a.mp4", etag=info.etag, size_bytes=size, digests=[digest])
        assert (tmp_path / "disk" / "b.mp4").read_bytes() == data
        assert copied == disk.head("b.mp4")
        assert digest.digest() == hashlib.sha256(data).digest()

    def test_an_object_comes_from_a_disk_whole(self, store: ObjectStore, tmp_path: Path) -> None:
        disk, digest = LocalStore(tmp_path / "disk", create=True), hashlib.sha256()
        disk.put("a.mp4", DATA)
        copied = store.put_from("b.mp4", disk, "a.mp4", digests=[digest])
        assert store.get("b.mp4", etag=copied.etag) == DATA
        assert digest.digest() == hashlib.sha256(DATA).digest()

    def test_a_copy_of_what_is_not_there_publishes_nothing(self, store: ObjectStore, tmp_path: Path) -> None:
        disk = LocalStore(tmp_path / "disk", create=True)
        info = store.put("a.mp4", DATA)
        with pytest.raises(ObjectNotFound):
            disk.put_from("b.mp4", store, "none")
        with pytest.raises(ObjectChanged):
            disk.put_from("b.mp4", store, "a.mp4", etag="0" * 32)
        with pytest.raises(SizeMismatch, match=rf"{len(DATA)} bytes were read, and its listing says 7"):
            disk.put_from("b.mp4", store, "a.mp4", etag=info.etag, size_bytes=7)
        with pytest.raises(SizeMismatch):
            store.put_from("b.mp4", store, "a.mp4", size_bytes=7)
        assert not list(disk.list())
        assert [info.key for info in store.list()] == ["a.mp4"]

    def test_parts_are_joined_by_number_and_invisible_before(self, store: ObjectStore) -> None:
        first, last = bytes(MIN_PART_BYTES), b"last"
        with store.multipart(KEY) as upload:
            upload.write_part(7, last)
            upload.write_part(2, b"x" * MIN_PART_BYTES)
            upload.write_part(2, first)
            assert _keys(store) == []
            with pytest.raises(ObjectNotFound):
                store.head(KEY)
            info = upload.complete()
        assert info == store.head(KEY)
        assert store.get(KEY) == first + last
        assert store.sweep() == 0

    def test_parts_in_order_replace_the_old_object(self, store: ObjectStore) -> None:
        old = store.put(KEY, b"old")
        with store.multipart(KEY) as upload:
            upload.write_part(1, b"a" * MIN_PART_BYTES)
            upload.write_part(2, b"b")
            assert store.head(KEY) == old
            upload.complete()
        assert store.get(KEY, start=MIN_PART_BYTES - 1) == b"ab"

    def test_an_upload_left_or_aborted_publishes_nothing(self, store: ObjectStore) -> None:
        with store.multipart(KEY) as upload:
            upload.write_part(1, b"left")
        with contextlib.suppress(ConnectionError), store.multipart(KEY) as upload:
            upload.write_part(1, b"failed")
            raise ConnectionError("the source went away")
        upload = store.multipart(KEY)
        upload.write_part(1, b"aborted")
        upload.abort()
        upload.abort()
        with pytest.raises(StoreError):
            upload.write_part(2, b"late")
        with pytest.raises(StoreError):
            upload.complete()
        assert _keys(store) == []
        assert store.sweep() == 0

    def test_an_upload_needs_parts_and_proper_numbers(self, store: ObjectStore) -> None:
        with store.multipart(KEY) as upload:
            for number in (0, -1, MAX_PART_NUMBER + 1):
                with pytest.raises(ValueError, match="part number"):
                    upload.write_part(number, b"")
            with pytest.raises(StoreError, match="no parts"):
                upload.complete()
        assert _keys(store) == []

    # Uploads that outlive their writer

    def test_an_upload_taken_up_by_another_has_the_parts_that_were_sent(self, store: ObjectStore) -> None:
        size = store.uploads.min_part_bytes
        first, second, last = bytes(size), b"x" * size, b"last"
        begun = store.uploads.begin(KEY, part_bytes=size)
        begun.send(3, last)
        sent = begun.send(1, first)
        assert (sent.number, sent.size_bytes, sent.checksum) == (1, size, store.uploads.checksum(first))
        assert _keys(store) == []
        other = open_store(store.uri).uploads
        (found,) = other.pending(KEY[:10])
        assert (found.key, found.upload_id) == (KEY, begun.upload_id)
        assert abs(found.begun_at - datetime.now(UTC)) < timedelta(minutes=1)
        assert list(other.pending("b")) == []
        resumed = other.resume(KEY, found.upload_id, part_bytes=size)
        assert {number: (p.size_bytes, p.checksum) for number, p in resumed.parts.items()} == {
            1: (size, other.checksum(first)),
            3: (4, other.checksum(last)),
        }
        resumed.send(2, b"y" * size)
        resumed.send(2, second)
        info = resumed.complete()
        assert info == store.head(KEY)
        assert store.get(KEY) == first + second + last
        assert list(other.pending()) == []
        # Who did not hear the answer asks again.
        assert resumed.complete() == info

    def test_an_upload_is_taken_up_with_parts_that_were_written_down(self, store: ObjectStore) -> None:
        size = store.uploads.min_part_bytes
        begun = store.uploads.begin(KEY, part_bytes=size)
        sent = [begun.send(1, bytes(size)), begun.send(2, b"last")]
        resumed = store.uploads.resume(KEY, begun.upload_id, part_bytes=size, parts=sent)
        assert list(resumed.parts.values()) == sent
        assert resumed.complete().size_bytes == size + 4

    def test_an_upload_that_is_gone_is_not_found(self, store: ObjectStore) -> None:
        size = store.uploads.min_part_bytes
        begun = store.uploads.begin(KEY, part_bytes=size)
        begun.send(1, b"part")
        store.uploads.resume(KEY, begun.upload_id, part_bytes=size).abort()
        for upload_id in (begun.upload_id, "../locks", "0" * 32):
            with pytest.raises(ObjectNotFound):
                store.uploads.resume(KEY, upload_id, part_bytes=size)
        with pytest.raises(ObjectNotFound):
            begun.send(2, b"late")
        with pytest.raises(ObjectNotFound):
            begun.complete()
        begun.abort()
        assert (_keys(store), list(store.uploads.pending())) == ([], [])
        with pytest.raises(InvalidKey):
            store.uploads.begin("../a", part_bytes=size)

    def test_an_object_is_confirmed_by_length_and_checksum(self, store: ObjectStore) -> None:
        uploads = store.uploads
        size = uploads.min_part_bytes

        def confirmed(*data: bytes) -> ObjectInfo | None:
            def parts(kind: str) -> list[Part]:
                return [Part(len(piece), uploads.checksum(piece, kind)) for piece in data]

            return uploads.confirm(KEY, sum(map(len, data)), parts)

        assert confirmed(bytes(size), b"last") is None
        upload = uploads.begin(KEY, part_bytes=size)
        for number, piece in enumerate((bytes(size), b"last"), start=1):
            upload.send(number, piece)
        assert confirmed(bytes(size), b"last") is None
        info = upload.complete()
        assert confirmed(bytes(size), b"last") == info
        assert confirmed(bytes(size), b"tail") is None
        assert confirmed(bytes(size)) is None
        whole = store.put(KEY, b"at once")
        assert confirmed(b"at once") == whole
        assert confirmed(b"at ONCE") is None

    def test_an_upload_outlives_its_writer_and_a_sweep(self, store: ObjectStore) -> None:
        with running(store_processes.begin_upload, store.uri, KEY) as (pid, pipe):
            upload_id = hear(pipe)
            kill(pid, pipe)
        assert store.sweep() == 0
        size = store.uploads.min_part_bytes
        resumed = store.uploads.resume(KEY, upload_id, part_bytes=size)
        assert resumed.complete().size_bytes == size
        assert store.get(KEY) == bytes(size)

    # Death

    @pytest.mark.parametrize("writer", [store_processes.put_half, store_processes.upload_half])
    def test_a_killed_writer_leaves_the_old_object(self, store: ObjectStore, writer: object) -> None:
        old = store.put(KEY, b"old")
        with running(writer, store.uri, KEY) as (pid, pipe):
            assert hear(pipe) == "half"
            assert store.head(KEY) == old
            assert _keys(store) == [KEY]
            kill(pid, pipe)
        assert store.get(KEY) == b"old"
        assert _keys(store) == [KEY]
        store.sweep()
        assert store.sweep() == 0
        assert store.get(KEY) == b"old"
        store.put(KEY, b"new")
        assert store.get(KEY) == b"new"

    # Locks

    def test_a_lock_has_one_holder_at_a_time(self, store: ObjectStore) -> None:
        store.put("count", b"0")
        assert race(store_processes.count_up, *[(store.uri, "count", 10)] * 3) == ["done"] * 3
        assert store.get("count") == b"30"

    def test_a_lock_held_elsewhere_times_out_and_says_how_to_go_on(self, store: ObjectStore) -> None:
        with running(store_processes.hold_lock, store.uri, "clips/date=2026-01-03|veh-7") as (pid, pipe):
            assert hear(pipe) == "held"
            for timeout_s in (0, 0.1):
                with (
                    pytest.raises(LockTimeout, match=r"veh-7.*(Wait|stop)") as error,
                    store.lock("clips/date=2026-01-03|veh-7", timeout_s=timeout_s),
                ):
                    pytest.fail("two holders")
            assert error.value.remedy
            with store.lock("clips/date=2026-01-03_veh-7", timeout_s=0):  # another name is free
                pass
            kill(pid, pipe)
        with store.lock("clips/date=2026-01-03|veh-7", timeout_s=10):
            pass

    def test_a_lock_excludes_threads_and_ends_with_its_block(self, store: ObjectStore) -> None:
        with contextlib.suppress(ConnectionError), store.lock("name", timeout_s=0):
            with pytest.raises(LockTimeout), store.lock("name", timeout_s=0):
                pytest.fail("two holders")
            raise ConnectionError("the source went away")
        with store.lock("name", timeout_s=0):
            pass
        assert _keys(store) == []

    @pytest.mark.parametrize("name", ["", "../x", "/", "a/b", "\0\n", "\udcff", "é" * 500, "CON"])
    def test_a_lock_takes_any_name(self, store: ObjectStore, name: str) -> None:
        with store.lock(name, timeout_s=0):
            assert _keys(store) == []


def _check_lists(store: ObjectStore, keys: list[str], prefix: str, start_after: str) -> None:
    """`list` and `list_level` against plain lists; Unicode order is the order of UTF-8 bytes."""
    expected = [key for key in keys if key.startswith(prefix) and key > start_after]
    assert [info.key for info in store.list(prefix, start_after=start_after)] == expected
    for delimiter in ("/", "."):
        listed = _names(store.list_level(prefix, delimiter=delimiter, start_after=start_after))
        assert listed == _rolled_up(keys, prefix, delimiter, start_after)

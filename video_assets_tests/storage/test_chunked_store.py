"""A stream of chunks reads as the one file that it is, whatever is read of it; damage is an error in words."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from video_assets.storage.chunk_metadata import MAX_METADATA_BYTES, StreamFault, parse_metadata
from video_assets.storage.object_store import InvalidKey, ObjectChanged, ObjectNotFound, ObjectStore
from video_assets.storage.registry import normal_uri, open_store, split_uri
from video_assets_tests.sources.chunk_uploads import STREAM, put_stream

NAME = "veh-1/2026-01-03/front é+/083000.mp4"
DATA = random.Random(1).randbytes(10_450)


@pytest.fixture(params=["file", "s3"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return open_store(str(tmp_path / "up loads"), create=True)
    return open_store(request.getfixturevalue("s3_root"))


@pytest.fixture
def stream(home: ObjectStore) -> ObjectStore:
    return open_store(home.uri_of(put_stream(home, NAME, DATA)))


def test_it_is_a_store_of_one_object(stream: ObjectStore, home: ObjectStore) -> None:
    (info,) = stream.list()
    assert (info.key, info.size_bytes) == (NAME, len(DATA))
    assert stream.head(NAME) == info
    uri = stream.uri_of(NAME)
    assert uri == home.uri_of(f"{STREAM}/metadata.json/{NAME}")
    assert (split_uri(uri), normal_uri(uri)) == ((stream.uri, NAME), uri)
    assert stream.key_of(uri) == NAME
    assert stream.key_of(home.uri_of("a.mp4")) is None
    with pytest.raises(ObjectNotFound, match="the stream is of veh-1"):
        stream.head("another.mp4")


def test_every_range_is_that_of_the_file(stream: ObjectStore) -> None:
    dice, etag = random.Random(2), stream.head(NAME).etag
    assert stream.get(NAME) == DATA
    for _ in range(40):
        start, length = dice.randrange(len(DATA) + 500), dice.randrange(4000)
        assert stream.get(NAME, start=start, length=length, etag=etag) == DATA[start : start + length]


@pytest.mark.parametrize("size", [1, 700, 1000, 3333, 20_000])
def test_it_streams_in_pieces_of_the_size_that_is_asked_for(stream: ObjectStore, size: int) -> None:
    if size == 1 and not stream.uri.startswith("file"):
        pytest.skip("ten thousand steps of a server bring nothing more")
    pieces = list(stream.stream(NAME, chunk_bytes=size))
    assert b"".join(pieces) == DATA
    assert {len(piece) for piece in pieces[:-1]} <= {size}


def test_it_opens_as_a_seekable_file_also_for_several_threads(stream: ObjectStore) -> None:
    with pickle.loads(pickle.dumps(stream)).open(NAME) as file:
        assert file.seek(0, io.SEEK_END) == len(DATA)
        file.seek(2_990)
        assert file.read(20) == DATA[2_990:3_010]
        assert file.read() == DATA[3_010:]
        places = [(at, 1_500) for at in range(0, len(DATA), 700)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda place: file.read_at(*place), places))  # type: ignore[attr-defined]
    assert found == [DATA[at : at + length] for at, length in places]


def test_the_version_is_that_of_the_bytes(home: ObjectStore, stream: ObjectStore) -> None:
    first = stream.head(NAME).etag
    put_stream(home, NAME, DATA, updated_at="2026-02-01T00:00:00Z")
    assert stream.head(NAME).etag == first
    put_stream(home, NAME, DATA[:-1] + b"x")
    assert stream.head(NAME).etag != first
    for read in (lambda: stream.get(NAME, etag=first), lambda: stream.open(NAME, etag=first)):
        with pytest.raises(ObjectChanged):
            read()


@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (3, None, "chunk_000003.bin: is not there"),
        (3, b"short", "chunk_000003.bin: has 5 bytes, and its metadata says 1000"),
        (10, DATA[:500], "chunk_000010.bin: has 500 bytes, and its metadata says 450"),
    ],
)
def test_a_hole_and_another_size_are_damage(
    home: ObjectStore, stream: ObjectStore, number: int, change: bytes | None, words: str
) -> None:
    key = f"{STREAM}/chunk_{number:06d}.bin"
    if change is None:
        home.delete(key)
    else:
        home.put(key, change)
    assert stream.get(NAME, length=1000) == DATA[:1000]
    for read in (lambda: stream.get(NAME), lambda: list(stream.stream(NAME)), lambda: stream.open(NAME).read()):
        with pytest.raises(StreamFault, match=words):
            read()


def test_a_whole_read_holds_chunks_against_their_sums(home: ObjectStore, stream: ObjectStore) -> None:
    home.put(f"{STREAM}/chunk_000003.bin", bytes(1000))
    with pytest.raises(StreamFault, match=r"chunk_000003.bin: has the SHA-256 .*, and its metadata says another"):
        list(stream.stream(NAME))


def test_a_chunk_that_is_replaced_while_it_is_read_is_another_version(home: ObjectStore, stream: ObjectStore) -> None:
    with stream.open(NAME) as file:
        file.read(10)
        home.put(f"{STREAM}/chunk_000000.bin", bytes(1000))
        file.seek(0)
        file.read_at(5_000, 10)  # type: ignore[attr-defined]
        with pytest.raises(ObjectChanged):
            file.read_at(0, 10)  # type: ignore[attr-defined]


def test_a_stream_that_is_gone_is_an_object_that_is_gone(home: ObjectStore, stream: ObjectStore) -> None:
    for info in list(home.list()):
        home.delete(info.key)
    with pytest.raises(ObjectNotFound):
        stream.head(NAME)


def test_what_is_not_complete_is_not_read(home: ObjectStore) -> None:
    stream = open_store(home.uri_of(put_stream(home, NAME, DATA, complete=False)))
    with pytest.raises(StreamFault, match="not complete: its upload is under way, or was given up"):
        stream.get(NAME)


def test_it_is_only_read(stream: ObjectStore) -> None:
    for write in (
        lambda: stream.put("a", b""),
        lambda: stream.multipart("a"),
        lambda: stream.copy(NAME, "a"),
        lambda: stream.delete(NAME),
        lambda: stream.lock("a", timeout_s=0),
    ):
        with pytest.raises(InvalidKey, match="only read"):
            write()  # type: ignore[no-untyped-call]
    assert stream.sweep() == 0


def metadata(**changes: Any) -> bytes:
    said = {
        "format": "video-assets/chunks/1",
        "stream_id": STREAM,
        "name": "a.mp4",
        "size": 5,
        "chunk_bytes": 3,
        "chunks": [{"index": 0, "size": 3, "sha256": "0" * 64}, {"index": 1, "size": 2, "sha256": "1" * 64}],
        "complete": True,
    }
    return json.dumps({**said, **changes}).encode()


CHUNK = {"index": 0, "size": 3, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no JSON"),
        (b"[]", "is no JSON object"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (metadata(format="video-assets/chunks/2"), "has the format 'video-assets/chunks/2'"),
        (metadata(stream_id="x"), "is of the stream 'x'"),
        (metadata(name="../../etc/passwd"), r"has a name that cannot be used: .*\.\."),
        (metadata(name="/etc/passwd"), "has a name that cannot be used"),
        (metadata(name=None), "names no file"),
        (metadata(size=6), "has the size 6, and its chunks have 5 bytes"),
        (metadata(size="5"), "has no usable size"),
        (metadata(size=True), "has no usable size"),
        (metadata(chunk_bytes=0), "has no usable chunk_bytes"),
        (metadata(chunks=None), "lists no chunks"),
        (metadata(chunks=[{**CHUNK, "index": 1}]), "lists something else where chunk 0 should be"),
        (metadata(chunks=["0"]), "lists something else where chunk 0 should be"),
        (metadata(chunks=[CHUNK, {**CHUNK, "index": 2}]), "lists something else where chunk 1 should be"),
        (metadata(chunks=[{**CHUNK, "sha256": "0"}]), "has no SHA-256 of chunk 0"),
        (metadata(chunks=[{**CHUNK, "size": 4}]), "gives chunk 0 a size of 4, and chunks have 3"),
        (metadata(chunks=[{**CHUNK, "size": 2}, {**CHUNK, "index": 1}]), "gives chunk 0 a size of 2"),
        (metadata(chunks=[{**CHUNK, "size": -1}]), "has no usable size"),
        (metadata(complete="yes"), "does not say whether it is complete"),
    ],
)
def test_metadata_that_cannot_be_used_says_why(data: bytes, words: str) -> None:
    uri = f"s3://bucket/{STREAM}/metadata.json"
    with pytest.raises(StreamFault, match=words) as error:
        parse_metadata(data, uri)
    assert error.value.item == uri
    assert len(str(error.value)) < 400


def test_good_metadata_is_taken() -> None:
    found = parse_metadata(metadata(), f"{STREAM}/metadata.json")
    assert (found.name, found.size_bytes, len(found.chunks), found.complete) == ("a.mp4", 5, 2, True)
    assert found.etag == hashlib.sha256(f"3 {'0' * 64}\n2 {'1' * 64}\n".encode()).hexdigest()[:32]


def test_any_metadata_ends_in_words_or_in_metadata() -> None:
    for seed in range(300):
        dice, data = random.Random(seed), bytearray(metadata())
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(len(data))] = dice.choice(b'"{}[],:0-9a\\\x00')
        with contextlib.suppress(StreamFault):
            found = parse_metadata(bytes(data), f"{STREAM}/metadata.json")
            assert found.size_bytes == sum(chunk.size_bytes for chunk in found.chunks)


def test_uris_of_oss_are_split_like_others() -> None:
    uri = f"oss://oss-cn-hangzhou.aliyuncs.com/bucket/up/{STREAM}/metadata.json/veh-1/a%20b.mp4"
    root = f"oss://oss-cn-hangzhou.aliyuncs.com/bucket/up/{STREAM}/metadata.json"
    assert (split_uri(uri), open_store(root).uri) == ((root, "veh-1/a b.mp4"), root)


def test_huge_metadata_is_not_read(tmp_path: Path) -> None:
    home = open_store(str(tmp_path))
    key = put_stream(home, NAME, DATA)
    with (tmp_path / key).open("ab") as file:
        file.truncate(MAX_METADATA_BYTES + 1)
    with pytest.raises(StreamFault, match="are read"):
        open_store(home.uri_of(key)).head(NAME)

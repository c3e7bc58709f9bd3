"""Spans of an object go to a file in any order, and to digests in theirs."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.storage import parallel_read
from video_assets.storage.crc import Crc
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.parallel_read import read_spans, spans_of
from video_assets.storage.positioned_file import WRITE_BYTES, PositionedFile

DATA = random.Random(1).randbytes(3 * WRITE_BYTES + 17)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[PositionedFile]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield PositionedFile(descriptor, "the file")
    os.close(descriptor)


@given(start=st.integers(0, 50), size=st.integers(0, 1000), connections=st.integers(1, 9), bounds=st.integers(1, 99))
def test_spans_are_adjacent_and_cover_all(start: int, size: int, connections: int, bounds: int) -> None:
    spans = spans_of(start, size, connections, least=bounds, most=2 * bounds)
    assert [place for span in spans for place in span] == list(range(start, size))
    assert all(bounds <= len(span) <= 2 * bounds for span in spans[:-1])


@settings(max_examples=30, deadline=None)
@given(cuts=st.sets(st.integers(1, len(DATA) - 1), max_size=9), piece=st.integers(1000, 2 * WRITE_BYTES))
def test_any_spans_are_written_and_digested_whole(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int], piece: int
) -> None:
    path = tmp_path_factory.mktemp("spans") / "file"
    ends, digests = [0, *sorted(cuts), len(DATA)], (hashlib.md5(), hashlib.sha256())
    buffers = threading.local()

    def pieces(span: range) -> Iterator[memoryview]:
        # The same buffer again and again, as a reader of a socket would have it.
        buffers.bytes = memoryview(bytearray(piece))
        for at in range(span.start, span.stop, piece):
            part = DATA[at : min(at + piece, span.stop)]
            buffers.bytes[: len(part)] = part
            yield buffers.bytes[: len(part)]

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        spans = [range(*ends_of) for ends_of in itertools.pairwise(ends)]
        read_spans(spans, pieces, PositionedFile(descriptor, "the file"), lambda: digests, connections=3)
    finally:
        os.close(descriptor)
    assert path.read_bytes() == DATA
    assert [digest.digest() for digest in digests] == [hashlib.md5(DATA).digest(), hashlib.sha256(DATA).digest()]


def test_spans_are_read_at_the_same_time(file: PositionedFile) -> None:
    meeting = threading.Barrier(3)

    def pieces(span: range) -> Iterator[bytes]:
        meeting.wait(timeout=30)
        yield DATA[span.start : span.stop]

    read_spans(spans_of(0, 300, 3, least=100, most=100), pieces, file, tuple, connections=3)
    assert not meeting.broken


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_what_goes_wrong_in_a_span_ends_the_read(file: PositionedFile, broken: int) -> None:
    def pieces(span: range) -> Iterator[bytes]:
        yield DATA[span.start : span.start + 50]
        if span.start == 100 * broken:
            raise StoreUnavailable("bucket", "is away")
        yield DATA[span.start + 50 : span.stop]

    with pytest.raises(StoreUnavailable, match="away"):
        read_spans(spans_of(0, 300, 3, least=100, most=100), pieces, file, lambda: [hashlib.md5()], connections=3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("span")]


def test_a_digest_that_cannot_be_had_ends_the_read(file: PositionedFile) -> None:
    def digests() -> list[parallel_read.Digest]:
        raise StoreUnavailable("bucket", "is away")

    with pytest.raises(StoreUnavailable, match="away"):
        read_spans([range(100)], lambda span: iter([DATA[:100]]), file, digests, connections=3)


def test_a_full_disk_says_so() -> None:
    with Path("/dev/full").open("r+b", buffering=0) as full:
        file = PositionedFile(full.fileno(), "file:///store/a.mp4")
        with pytest.raises(StoreUnavailable, match=r"a\.mp4.*Free space"):
            read_spans([range(100)], lambda span: iter([DATA[:100]]), file, tuple, connections=1)


def test_a_file_that_another_cut_short_is_no_loop(file: PositionedFile) -> None:
    with pytest.raises(StoreUnavailable, match="cut it short"):
        file.read_at(0, memoryview(bytearray(10)))


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("CRC32", 0xCBF43926),
        ("CRC32C", 0xE3069283),
        ("CRC64-NVME", 0xAE8B14860A799888),
        ("CRC64-XZ", 0x995DC9BBDF1939FA),
    ],
)
def test_a_crc_is_that_of_the_catalogue(name: str, check: int) -> None:
    # "Check" of each entry in the catalogue of parametrised CRC algorithms: the sum of these nine digits.
    digest = Crc(name)  # type: ignore[arg-type]
    digest.update(b"1234")
    digest.update(memoryview(b"56789"))
    assert digest.value == check

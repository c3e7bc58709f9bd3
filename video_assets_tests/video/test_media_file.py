"""A video's bytes between the source and FFmpeg: the right ones, few of them, each once, and failures as they are."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.video import media_file, read_ahead
from video_assets.video.media_file import MediaFile
from video_assets.video.read_ahead import ReadAhead, pieces_of
from video_assets_tests.video.counting_file import CountingFile, RangedFile
from video_assets_tests.video.test_mp4_boxes import FTYP, MOOV, box

MEDIA = [random.Random(n).randbytes(size) for n, size in enumerate((3000, 1, 5000))]
DATA = FTYP + box(b"mdat", MEDIA[0]) + MOOV + box(b"mdat", MEDIA[1]) + box(b"free", b"x" * 99) + box(b"mdat", MEDIA[2])
_PLACES = st.integers(0, len(DATA) + 50)


@contextlib.contextmanager
def small_reads(first_bytes: int = 256, kept_bytes: int = 300) -> Iterator[None]:
    """Sizes at which a small file is read as a large one is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media_file, "_FIRST_BYTES", first_bytes)
        patch.setattr(media_file, "_BOX_BYTES", 16)
        patch.setattr(media_file, "_KEPT_BYTES", kept_bytes)
        patch.setattr(read_ahead, "MAX_PIECE_BYTES", 500)
        patch.setattr(read_ahead, "MAX_GAP_BYTES", 40)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bytes") / "v.mp4"
    path.write_bytes(DATA)
    return path


def _is_media(at: int) -> bool:
    return any(0 <= at - DATA.index(media) < len(media) for media in MEDIA)


MAYBE_ZERO = [_is_media(at) for at in range(len(DATA))]


@settings(max_examples=60, deadline=None)
@given(
    first_bytes=st.sampled_from([256, 256 * 1024]),
    ranged=st.booleans(),
    wanted=st.lists(st.tuples(_PLACES, st.integers(0, 900)), max_size=8),
    reads=st.lists(st.tuples(_PLACES, st.integers(1, 2000)), min_size=1, max_size=12),
)
def test_what_is_wanted_is_right_and_the_rest_is_right_or_zero(
    path: Path, first_bytes: int, ranged: bool, wanted: list[tuple[int, int]], reads: list[tuple[int, int]]
) -> None:
    zero = list(MAYBE_ZERO)
    for start, length in wanted:
        zero[start : start + length] = [False] * len(zero[start : start + length])
    with small_reads(first_bytes), RangedFile(path) if ranged else CountingFile(path) as source:
        file = MediaFile(source, "cam/1")
        with file.opened(sparse=True):
            assert file.sparse
            file.want((start, start + length) for start, length in wanted)
            for at, length in reads:
                data = file.bytes_at(at, length)
                expected = DATA[at : at + length]
                assert len(data) == len(expected)
                for place, (byte, right) in enumerate(zip(data, expected, strict=True), at):
                    assert byte == right or (zero[place] and byte == 0)
        assert file.bytes_read == source.bytes_read


@settings(max_examples=30, deadline=None)
@given(reads=st.lists(st.tuples(_PLACES, st.integers(1, 2000)), max_size=12), sparse=st.booleans())
def test_in_full_it_is_the_file(path: Path, reads: list[tuple[int, int]], sparse: bool) -> None:
    file, expected = MediaFile(path, "cam/1"), io.BytesIO(DATA)
    with small_reads(), file.opened(sparse=sparse):
        for at, length in reads:
            assert file.seek(at) == expected.seek(at) == file.tell()
            data = file.read(length)
            assert data == expected.read(len(data))
            assert bool(data) == (at < len(DATA))
    assert file.bytes_total == len(DATA)


def test_a_pass_begins_in_full(path: Path) -> None:
    file = MediaFile(path, "cam/1")
    for _ in range(2):
        with file.opened(sparse=True):
            assert file.bytes_at(0, len(DATA)) == DATA
            file.want(())
            assert MEDIA[2] not in file.bytes_at(0, len(DATA))


def test_a_small_file_object_is_fetched_once_for_all_passes(path: Path) -> None:
    with CountingFile(path) as source:
        file = MediaFile(source, "cam/1")
        for _ in range(3):
            with file.opened(sparse=False):
                assert file.bytes_at(0, len(DATA)) == DATA
        assert len(source.requests) == 1


@pytest.mark.parametrize("kind", [CountingFile, RangedFile])
def test_what_an_earlier_pass_fetched_is_not_fetched_again(path: Path, kind: type[CountingFile]) -> None:
    begin, end = DATA.index(MEDIA[2]), DATA.index(MEDIA[2]) + len(MEDIA[2])
    with small_reads(kept_bytes=4000), kind(path) as source:
        file = MediaFile(source, "cam/1")
        with file.opened(sparse=True):
            file.bytes_at(begin, 10)
            file.bytes_at(begin + 2000, 10)
        with file.opened(sparse=True):
            file.want([(begin + 100, end)])
            assert file.bytes_at(begin, len(MEDIA[2])) == MEDIA[2]
    fetched = [at for start, length in source.requests for at in range(start, start + length)]
    assert len(fetched) == len(set(fetched))


def test_reading_on_fetches_more_at_a_time_and_a_jump_little(tmp_path: Path) -> None:
    path = tmp_path / "v.ts"
    path.write_bytes(bytes(range(256)) * 120_000)
    with CountingFile(path) as source:
        file = MediaFile(source, "cam/1")
        with file.opened(sparse=True):
            assert not file.sparse
            while file.read(65_536):
                pass
        assert len(source.requests) == 12
        assert max(length for _, length in source.requests) == 4 * 1024 * 1024
        with file.opened(sparse=False):
            file.bytes_at(25_000_000, 10)
        assert source.requests[-1] == (25_000_000, 256 * 1024)


def test_a_failure_ends_the_file_and_is_raised_at_the_end_of_the_pass(path: Path) -> None:
    with RangedFile(path, fail_at=4000) as source:
        file = MediaFile(source, "cam/1")
        with pytest.raises(ConnectionError, match="no bytes at 4000"):
            assert DATA.startswith(_read_as_ffmpeg_does(file))


def _read_as_ffmpeg_does(file: MediaFile) -> bytes:
    with file.opened(sparse=True):
        file.want([(100, 5000)])
        taken = b"".join(iter(lambda: file.read(100), b""))
        assert file.read(10) == b""
    return taken


def test_nothing_is_fetched_after_a_pass_that_was_left_early(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "MAX_PIECE_BYTES", 50)
    with RangedFile(path) as source:
        file = MediaFile(source, "cam/1")
        with file.opened(sparse=True):
            file.want([(0, len(DATA))])
            file.bytes_at(100, 10)
        before = len(source.requests)
        assert before < 20, "of 163 pieces"
        assert file.bytes_read == source.bytes_read
        assert len(source.requests) == before


@given(st.lists(st.tuples(_PLACES, st.integers(0, 900)), max_size=8))
def test_pieces_hold_all_that_is_wanted_once_and_are_not_too_large(wanted: list[tuple[int, int]]) -> None:
    with small_reads():
        pieces = pieces_of((start, start + length) for start, length in wanted)
    assert all(0 < end - start <= 500 for start, end in pieces)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(pieces))
    held = {at for start, end in pieces for at in range(start, end)}
    assert held >= {at for start, length in wanted for at in range(start, start + length)}


def test_pieces_come_in_any_order_and_more_than_once() -> None:
    pieces = [(at, at + 10) for at in range(0, 1000, 10)]
    ahead = ReadAhead(lambda start, length: bytes([start // 10]) * length, pieces, ahead=4)
    order = [0, 1, 2, 50, 51, 1, 99, 0, 52, *range(100)]
    assert [ahead.take(number) for number in order] == [bytes([number]) * 10 for number in order]
    ahead.close()

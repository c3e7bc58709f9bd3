"""The outermost boxes of MP4 files, whole, odd and hostile."""

from __future__ import annotations

import struct

import pytest

from video_assets.video.mp4_boxes import media_data


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def large_box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body


def found_in(data: bytes) -> list[bytes]:
    ranges = media_data(lambda at, length: data[at : at + length], len(data))
    return [data[start:end] for start, end in ranges]


FTYP, MOOV = box(b"ftyp", b"isom0000"), box(b"moov", b"tables")


@pytest.mark.parametrize(
    "data",
    [
        FTYP + MOOV + box(b"mdat", b"pictures"),
        FTYP + box(b"mdat", b"pictures") + MOOV,
        FTYP + box(b"free", b"mdat") + large_box(b"mdat", b"pictures") + MOOV,
        box(b"wide") + box(b"mdat", b"pictures") + MOOV,
        FTYP + MOOV + struct.pack(">I4s", 0, b"mdat") + b"pictures",
        FTYP + MOOV + box(b"mdat", b"pictures and more")[:16],
        FTYP + MOOV + box(b"mdat", b"pictures") + b"junk",
    ],
    ids=["tables first", "tables last", "64 bits", "QuickTime", "to the end of the file", "cut", "junk at the end"],
)
def test_media_data_is_found(data: bytes) -> None:
    assert found_in(data) == [b"pictures"]


def test_every_fragment_has_its_own() -> None:
    fragments = b"".join(box(b"moof") + box(b"mdat", bytes([n])) for n in range(5))
    assert found_in(FTYP + MOOV + fragments) == [bytes([n]) for n in range(5)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00",
        b"G" + bytes(500),
        FTYP,
        FTYP + MOOV,
        FTYP + box(b"mdat", b"pictures"),
        FTYP + struct.pack(">I4s", 3, b"moov") + box(b"mdat", b"pictures"),
        FTYP + struct.pack(">I4sQ", 1, b"moov", 3) + box(b"mdat", b"pictures"),
        b"RIFF" + MOOV + box(b"mdat", b"pictures"),
    ],
    ids=["nothing", "less", "a TS", "a head", "no media", "no tables", "impossible", "impossible in 64 bits", "other"],
)
def test_what_is_no_whole_mp4_has_none(data: bytes) -> None:
    assert found_in(data) == []


def test_a_million_boxes_are_not_gone_through() -> None:
    data = FTYP + MOOV + box(b"mdat", b"pictures") + box(b"free") * 1_000_000
    looked: list[int] = []

    def read_at(at: int, length: int) -> bytes:
        looked.append(at)
        return data[at : at + length]

    assert media_data(read_at, len(data)) == []
    assert len(looked) < 100


def test_a_size_beyond_all_files_ends_with_the_file() -> None:
    data = FTYP + MOOV + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1) + b"pictures"
    assert found_in(data) == [b"pictures"]

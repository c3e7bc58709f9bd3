"""Damage to files, the same for the same seed: cut, flipped, zeroed, doubled, spliced, and lengths that lie."""

from __future__ import annotations

import random
from collections.abc import Callable

LENGTHS: dict[str, tuple[tuple[bytes, ...], int, str]] = {
    "mp4": (
        (b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"elst", b"mdhd", b"stsd", b"avcC", b"hvcC", b"av1C", b"esds")
        + (b"stts", b"ctts", b"stss", b"stsc", b"stsz", b"stco", b"moof", b"tfhd", b"tfdt", b"trun", b"mfra", b"mdat"),
        4,
        "big",
    ),
    "mkv": (
        (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75")
        + (b"\xa3", b"\xa0", b"\xae", b"\xe0", b"\x63\xa2", b"\x2a\xd7\xb1", b"\x44\x89", b"\xe7", b"\xb0", b"\xba"),
        1,
        "big",
    ),
    "avi": ((b"RIFF", b"LIST", b"avih", b"strh", b"strf", b"movi", b"00dc", b"idx1", b"indx", b"JUNK"), 4, "little"),
    "ts": ((b"\x47\x40", b"\x47\x41", b"\x47\x01", b"\x00\x00\x01\xe0"), 2, "big"),
    "mpg": ((b"\x00\x00\x01\xba", b"\x00\x00\x01\xbb", b"\x00\x00\x01\xe0", b"\x00\x00\x01\xb3"), 2, "big"),
    "h264": ((b"\x00\x00\x01\x67", b"\x00\x00\x01\x68", b"\x00\x00\x01\x65", b"\x00\x00\x01\x41"), 2, "big"),
}
"""Per container: what stands beside its lengths and counts, their size in bytes and their byte order."""

_ALIKE = {"mov": "mp4", "webm": "mkv"}


def damage(data: bytes, other: bytes, suffix: str, seed: int) -> tuple[str, bytes]:
    """A damaged copy of a file, and what was done to it.

    Args:
        data: the file.
        other: another one, which parts may come from.
        suffix: what container it is, as the suffix of a file name without dot.
        seed: the same seed does the same.
    """
    chance = random.Random(f"{suffix} {seed}")
    ways: tuple[Callable[..., bytes], ...] = (_cut, _behead, _flip, _scribble, _blank, _remove, _double, _splice, _lie)
    way = ways[seed % len(ways)]
    return way.__name__[1:], way(data, chance, other=other, suffix=suffix)


def _cut(data: bytes, chance: random.Random, **_: object) -> bytes:
    return data[: chance.randrange(len(data))]


def _behead(data: bytes, chance: random.Random, **_: object) -> bytes:
    return data[chance.randrange(1, min(len(data), 5000)) :]


def _flip(data: bytes, chance: random.Random, **_: object) -> bytes:
    flipped = bytearray(data)
    for _ in range(chance.choice((1, 3, 30, 300))):
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _scribble(data: bytes, chance: random.Random, **_: object) -> bytes:
    start, stop = _range(data, chance)
    return data[:start] + chance.randbytes(stop - start) + data[stop:]


def _blank(data: bytes, chance: random.Random, **_: object) -> bytes:
    start, stop = _range(data, chance)
    return data[:start] + chance.choice((b"\0", b"\xff")) * (stop - start) + data[stop:]


def _remove(data: bytes, chance: random.Random, **_: object) -> bytes:
    start, stop = _range(data, chance)
    return data[:start] + data[stop:]


def _double(data: bytes, chance: random.Random, **_: object) -> bytes:
    start, stop = _range(data, chance)
    return data[:stop] + data[start:]


def _splice(data: bytes, chance: random.Random, *, other: bytes, **_: object) -> bytes:
    at = chance.randrange(1, len(data))
    return data[:at] + other[chance.randrange(len(other)) :]


def _lie(data: bytes, chance: random.Random, *, suffix: str, **_: object) -> bytes:
    """One to four lengths or counts near their names become others: none, huge, negative, one more."""
    names, size, order = LENGTHS[_ALIKE.get(suffix, suffix)]
    lied = bytearray(data)
    for _ in range(chance.choice((1, 1, 4))):
        name = chance.choice([name for name in names if name in data] or [data[:4]])
        places = [at for at in range(len(data)) if data.startswith(name, at)]
        # Before the name is the length of a box; behind it lie other lengths, flags, versions and counts.
        at = chance.choice(places) + chance.choice((-size, *range(len(name), len(name) + 24)))
        at = min(max(at, 0), len(data) - size)
        top = 256**size
        now = int.from_bytes(lied[at : at + size], order)  # type: ignore[arg-type]
        value = chance.choice((0, 1, now + 1, now - 1, now * 2, top // 2 - 1, top // 2, top - 1, chance.randrange(top)))
        lied[at : at + size] = (value % top).to_bytes(size, order)  # type: ignore[arg-type]
    return bytes(lied)


def _range(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data))
    return start, min(len(data), start + chance.choice((1, 16, 300, 4000)))

"""Numbers in and out of H.264's bits (ITU-T H.264, 7.2 and 9.1)."""

from __future__ import annotations

_MOST_ZEROS = 24
"""Ahead of a number that tells its own length: none in a header is larger, and FFmpeg reads longer ones otherwise."""


class NotEnoughBits(Exception):
    """There are fewer bits than are asked for, or than a number says that it has."""


class BitReader:
    """Reads from the first bit on. Raises NotEnoughBits from every method."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """A number of so many bits."""
        self._left -= count
        if self._left < 0:
            raise NotEnoughBits
        found = self._value >> self._left
        self._value ^= found << self._left
        return found

    def number(self) -> int:
        """A number that tells its own length: ue(v)."""
        zeros = self._left - self._value.bit_length()
        if zeros > _MOST_ZEROS:
            raise NotEnoughBits
        return self.take(2 * zeros + 1) - 1

    def numbers(self, count: int) -> list[int]:
        """So many of them. A signed one is read as another number, of the same length."""
        return [self.number() for _ in range(count)]

    def signed(self) -> int:
        """As `number`, of either sign: se(v)."""
        coded = self.number()
        return (coded + 1) // 2 if coded % 2 else -(coded // 2)


class BitWriter:
    """Writes what `BitReader` reads."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 1  # A first bit that is taken off again, for the zeros behind it.

    def put(self, number: int, bits: int) -> None:
        """A number of so many bits."""
        self._value = self._value << bits | number

    def numbers(self, *numbers: int) -> None:
        """Numbers that tell their own length: ue(v)."""
        for number in numbers:
            self.put(number + 1, 2 * (number + 1).bit_length() - 1)

    def unit(self) -> bytes:
        """All of it as the body of a NAL unit, ended by a one and without start codes in it."""
        self.put(1, 1)
        padded = self._value << (1 - self._value.bit_length()) % 8
        data = padded.to_bytes(padded.bit_length() // 8 + 1, "big")[1:]
        out = bytearray()
        for byte in data:
            if byte <= 3 and out.endswith(b"\0\0"):
                out.append(3)
            out.append(byte)
        return bytes(out)

"""What H.264 says of a picture ahead of its pixels: parameter sets and slice headers (ITU-T H.264, 7.3.2 and 7.3.3).

Read is only what `h264_references` follows: whole frames with CABAC, their order coded by type 0, no long-term
references. Those are what x264 and the encoders in graphics chips make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from video_assets.video.h264_bits import BitReader, BitWriter, NotEnoughBits

_HEAD_BYTES = 192
"""Of a slice, what is looked at. Its header takes 5 to 20 bytes, more with many weights."""

_SLICE, _IDR_SLICE, _SPS, _PPS = 1, 5, 7, 8
_BESIDE = frozenset({6, 9, 12})
"""Units that hold no part of a picture: supplemental information, delimiters, filler."""

_PROFILES, _PROFILES_WITH_CHROMA = frozenset({77, 88}), frozenset({100, 110, 122, 244})
"""In which CABAC is found. Of others FFmpeg and the standard do not agree on where chroma is told."""

_P, _B, _I = 0, 1, 2

_MOST_SLICES = 1024
"""Of a picture: a few bytes can claim to be one more."""

_START_CODE = b"\0\0\1"


class NotFollowed(Exception):
    """A header is damaged, or says what is not followed here."""


class Slice(NamedTuple):
    """One slice header.

    Attributes:
        first: the slice is the first of its picture.
        idr, reference: its picture starts anew; other pictures may refer to it.
        frame_num: the picture's number in decode order, as coded.
        order_lsb, order_bottom: its number in presentation order: the lowest bits, and what the second field adds.
        active: of each of its lists of references (none in I, one in P, two in B), how many entries it may use.
        changes: of each list, what comes to its front, as differences between picture numbers.
        unmarked: pictures that it ends as references, as differences; None where that is the oldest.
    """

    first: bool
    idr: bool
    reference: bool
    frame_num: int
    order_lsb: int
    order_bottom: int
    active: tuple[int, ...]
    changes: tuple[tuple[int, ...], ...]
    unmarked: tuple[int, ...] | None

    def same_picture(self, other: Slice) -> bool:
        """Whether both agree on their picture."""
        return self._replace(first=other.first, active=other.active, changes=other.changes) == other


@dataclass(frozen=True, slots=True)
class _PictureSet:
    """A picture parameter set, as far as slice headers depend on it."""

    bottom_is_told: bool
    active: tuple[int, int]
    weights_p: bool
    weights_b: bool


class H264Headers:
    """Reads the packets of one stream, as MP4 and Matroska hold them.

    Attributes:
        numbers: how many values `frame_num` has before it begins again at 0; `orders` likewise for `order_lsb`.
        most_references: frames that the decoder keeps as references.

    Raises:
        NotFollowed: on construction, and from every method.
    """

    def __init__(self, set_up: bytes) -> None:
        """`set_up`: the avcC record (ISO/IEC 14496-15, 5.3.3.1)."""
        if len(set_up) < 7 or set_up[0] != 1 or set_up[5] & 31 != 1:
            raise NotFollowed
        self._length_bytes = (set_up[4] & 3) + 1
        at = 8 + int.from_bytes(set_up[6:8], "big")
        self._sets = {set_up[8:at]}
        self._pictures: dict[int, _PictureSet] = {}
        try:
            self._read_sequence(_set(_SPS, set_up[8:at]))
            count, at = set_up[at] if at < len(set_up) else 0, at + 1
            for _ in range(count):
                start, at = at + 2, at + 2 + int.from_bytes(set_up[at : at + 2], "big")
                self._sets.add(set_up[start:at])
                self._borrowed = self._read_picture(_set(_PPS, set_up[start:at])), set_up[start:at]
        except NotEnoughBits as error:
            raise NotFollowed from error
        if not self._pictures or len(self._borrowed[1]) >> 8 * self._length_bytes:
            raise NotFollowed

    def reference(self, packet: memoryview) -> bool:
        """Whether other pictures may refer to the picture of a packet."""
        told = {bool(unit[0] & 0x60) for unit in self._units(packet) if unit[0] & 31 in (_SLICE, _IDR_SLICE)}
        if len(told) != 1:
            raise NotFollowed
        return told.pop()

    def hold_after(self, packet: memoryview) -> bool:
        """Whether the parameter sets are still those of the set-up after a packet: what it brings stays for later."""
        try:
            return all(self._units(packet))
        except NotFollowed:
            return False

    def slices(self, packet: memoryview) -> list[Slice]:
        """The slices of a packet, which holds one picture."""
        found = []
        for unit in self._units(packet):
            if unit[0] & 31 in (_SLICE, _IDR_SLICE):
                try:
                    found.append(self._slice(unit))
                except NotEnoughBits as error:
                    raise NotFollowed from error
                if len(found) > _MOST_SLICES:
                    raise NotFollowed
        if [part.first for part in found] != [True, *(False,) * (len(found) - 1)]:
            raise NotFollowed
        return found

    def stand_in(self, packet: memoryview, head: Slice) -> bytes:
        """A packet that decodes in no time to a repetition of the last reference, and else is as `packet`.

        All that later pictures see of it is the same: its numbers, and what it ends as references.
        """
        if head.idr or not head.reference or head.order_bottom:
            raise NotFollowed
        units = [bytes(unit) for unit in self._units(packet) if unit[0] & 31 not in (_SLICE, _IDR_SLICE)]
        number, theirs = self._borrowed
        units += [b"\x68" + self._own_set(number), b"\x61" + self._repetition(number, head), theirs]
        return b"".join(len(unit).to_bytes(self._length_bytes, "big") + unit for unit in units)

    def _own_set(self, number: int) -> bytes:
        """The picture parameter set of stand-ins: without CABAC, a run of macroblocks is one number.

        It has the number of one of the stream's, which is put back behind the slice: one of a number of its own would
        stay, and a damaged slice that names it would pass for a good one.
        """
        out = BitWriter()
        out.numbers(number, self._sequence)
        out.put(0b00, 2)
        out.numbers(0, 0, 0)
        out.put(0b000, 3)
        out.numbers(0, 0, 0)
        out.put(0b100, 3)  # Slices say whether they are to be deblocked.
        return out.unit()

    def _repetition(self, number: int, head: Slice) -> bytes:
        """A P slice of skipped macroblocks only."""
        out = BitWriter()
        out.numbers(0, _P, number)
        out.put(head.frame_num, self._frame_num_bits)
        out.put(head.order_lsb, self._order_bits)
        out.put(0b00, 2)
        out.put(head.unmarked is not None, 1)
        if head.unmarked is not None:
            for difference in head.unmarked:
                out.numbers(1, difference - 1)
            out.numbers(0)
        out.numbers(0, 1, self._blocks)
        return out.unit()

    def _units(self, packet: memoryview) -> Iterator[memoryview]:
        if bytes(packet[:1]) == b"\1":  # So begins a new set-up.
            raise NotFollowed
        at, prefix = 0, self._length_bytes
        while at < len(packet):
            start = at + prefix
            at = start + int.from_bytes(packet[at:start], "big")
            if not start < at <= len(packet) or packet[start] & 0x80:
                raise NotFollowed
            unit = bytes(packet[start:at])
            kind = unit[0] & 31
            known = kind in _BESIDE or kind in (_SLICE, _IDR_SLICE) or (kind in (_SPS, _PPS) and unit in self._sets)
            if not known or _START_CODE in unit:  # Which FFmpeg takes for the start of another unit.
                raise NotFollowed
            yield packet[start:at]

    def _read_sequence(self, bits: BitReader) -> None:
        profile, _, self._sequence = bits.take(8), bits.take(16), bits.number()
        self._has_chroma = True
        if profile not in _PROFILES | _PROFILES_WITH_CHROMA:
            raise NotFollowed
        if profile in _PROFILES_WITH_CHROMA:
            chroma = bits.number()
            self._has_chroma = chroma != 0
            separate_planes = chroma == 3 and bits.take(1)
            bits.numbers(2)
            if bits.take(2) or separate_planes:  # No transform bypass, no lists of scales.
                raise NotFollowed
        self._frame_num_bits = bits.number() + 4
        if bits.number() != 0:
            raise NotFollowed
        self._order_bits = bits.number() + 4
        if self._frame_num_bits > 16 or self._order_bits > 16:
            raise NotFollowed
        self.numbers, self.orders = 1 << self._frame_num_bits, 1 << self._order_bits
        self.most_references = bits.number()
        gaps_allowed = bits.take(1)
        self._blocks = (bits.number() + 1) * (bits.number() + 1)
        frames_only = bits.take(1)
        if gaps_allowed or not frames_only or self.most_references < 2:  # One is two in some files, to FFmpeg.
            raise NotFollowed

    def _read_picture(self, bits: BitReader) -> int:
        number, sequence, cabac = bits.number(), bits.number(), bits.take(1)
        bottom_is_told, slice_groups = bits.take(1), bits.number()
        if slice_groups or not cabac or sequence != self._sequence or number in self._pictures:
            raise NotFollowed
        active = bits.number() + 1, bits.number() + 1
        weights_p, weights_b = bits.take(1), bits.take(2)
        bits.numbers(3)
        if bits.take(3) & 1:  # Redundant pictures.
            raise NotFollowed
        self._pictures[number] = _PictureSet(bool(bottom_is_told), active, bool(weights_p), weights_b == 1)
        return number

    def _slice(self, unit: memoryview) -> Slice:
        idr, reference = unit[0] & 31 == _IDR_SLICE, bool(unit[0] & 0x60)
        bits = _bits(bytes(unit[1:_HEAD_BYTES]))
        first, kind = bits.number() == 0, bits.number() % 5
        picture = self._pictures.get(bits.number())
        if picture is None or kind not in (_P, _B, _I):
            raise NotFollowed
        frame_num = bits.take(self._frame_num_bits)
        if idr:
            bits.number()
        order_lsb = bits.take(self._order_bits)
        order_bottom = bits.signed() if picture.bottom_is_told else 0
        lists = {_P: 1, _B: 2, _I: 0}[kind]
        if kind == _B:
            bits.take(1)
        active = picture.active[:lists]
        if lists and bits.take(1):
            active = tuple(number + 1 for number in bits.numbers(lists))
        changes = tuple(_changes(bits) for _ in range(lists))
        if (kind == _P and picture.weights_p) or (kind == _B and picture.weights_b):
            self._pass_weights(bits, sum(active))
        unmarked = _unmarked(bits, idr) if reference else None
        return Slice(first, idr, reference, frame_num, order_lsb, order_bottom, active, changes, unmarked)

    def _pass_weights(self, bits: BitReader, entries: int) -> None:
        bits.numbers(2 if self._has_chroma else 1)
        for _ in range(entries):
            for numbers in (2, 4) if self._has_chroma else (2,):
                if bits.take(1):
                    bits.numbers(numbers)


def _set(kind: int, unit: bytes) -> BitReader:
    if not unit or unit[0] & 0x9F != kind or _START_CODE in unit:
        raise NotFollowed
    return _bits(unit[1:])


def _bits(data: bytes) -> BitReader:
    # Behind two zeros, a 3 is there only so that no start code appears.
    return BitReader(data.replace(b"\0\0\3", b"\0\0"))


def _changes(bits: BitReader) -> tuple[int, ...]:
    """Of one list (7.3.3.1)."""
    found: list[int] = []
    while (found or bits.take(1)) and (kind := bits.number()) != 3:
        if kind > 1:
            raise NotFollowed
        found.append((bits.number() + 1) * (1 if kind else -1))
    return tuple(found)


def _unmarked(bits: BitReader, idr: bool) -> tuple[int, ...] | None:
    """Which references end with a picture (7.3.3.3)."""
    if idr:
        if bits.take(2) & 1:  # A long-term reference.
            raise NotFollowed
        return None
    if not bits.take(1):
        return None
    found: list[int] = []
    while kind := bits.number():
        if kind != 1:
            raise NotFollowed
        found.append(bits.number() + 1)
    return tuple(found)

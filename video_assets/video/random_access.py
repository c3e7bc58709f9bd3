"""Where decoding may start, and which frames may be left out, without changing any other frame's pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a codec's standard promises about a packet that its container calls a key frame.

    Attributes:
        slices: NAL unit types that hold parts of a picture; None for codecs without such units.
        entry_slices: those one of which, as its first, makes it an entry.
        parameter_sets: NAL unit types that must come before, where the container does not carry them apart.
        skips_unreferenced: the decoder may leave out frames that no other frame refers to. Not HEVC, where
            such frames can still serve higher temporal layers; not VP8/9 and AV1, whose frames also adapt
            the entropy coder.
    """

    slices: frozenset[int] | None = None
    entry_slices: frozenset[int] = frozenset()
    parameter_sets: frozenset[int] = frozenset()
    skips_unreferenced: bool = False


# MPEG-1/2/4 are not here: a lost packet shifts the times of later frames, which only a full decode shows.
# H.264: IDR only. A recovery point promises correct pictures only "approximately", and later.
# HEVC: IDR, BLA and CRA; a CRA's leading pictures need the group before it, see `plan`.
_RULES = {
    "h264": _Rules(frozenset(range(1, 6)), frozenset({5}), frozenset({7, 8}), skips_unreferenced=True),
    "hevc": _Rules(frozenset(range(32)), frozenset(range(16, 22)), frozenset({33, 34})),
    "vp8": _Rules(),
    "vp9": _Rules(),
    "av1": _Rules(),
    "mjpeg": _Rules(),
}


def skips_unreferenced(codec: str) -> bool:
    """Whether unreferenced frames of `codec` (FFmpeg's name) may be left out of decoding."""
    return codec in _RULES and _RULES[codec].skips_unreferenced


def has_rules(codec: str) -> bool:
    """Whether parts of a stream of `codec` (FFmpeg's name) may be left out of decoding."""
    return codec in _RULES


class RandomAccess:
    """Judges the packets of one stream, in decode order."""

    def __init__(self, context: VideoCodecContext) -> None:
        codec = context.codec.canonical_name
        self._rules = _RULES.get(codec)
        self._hevc = codec == "hevc"
        self._length_bytes = _length_bytes(context.extradata or b"", codec)
        self._first = True
        self.doubt = "" if self._rules else f"no rules for skipping parts of {codec}"

    @property
    def goes_by_bytes(self) -> bool:
        """Whether the container's word is not enough."""
        return self._rules is not None and self._rules.slices is not None

    def starts_at(self, packet: Packet[VideoStream]) -> bool:
        """Whether a decoder that starts at this packet gives exactly what a full decode gives."""
        return self.may_start_at(packet) and self.confirms(bytes(packet)) is True

    def may_start_at(self, packet: Packet[VideoStream]) -> bool:
        """As `starts_at`, by the container's word: the packet's bytes are not looked at, and must still confirm it."""
        if not self._first and packet.has_sidedata("new_extradata"):
            self.doubt = "the decoder's set-up changes within the stream"
        self._first = False
        return self._rules is not None and packet.is_keyframe

    def confirms(self, data: bytes) -> bool | None:
        """Whether a packet that begins with `data` is an entry; None where its first slice lies further on."""
        if self._rules is None or self._rules.slices is None:
            return True
        before: set[int] = set()
        for kind in self._unit_types(data):
            if kind in self._rules.slices:
                set_up = bool(self._length_bytes) or before.issuperset(self._rules.parameter_sets)
                return set_up and kind in self._rules.entry_slices
            before.add(kind)
        return None

    def _unit_types(self, data: bytes) -> Iterator[int]:
        headers = _length_prefixed(data, self._length_bytes) if self._length_bytes else _start_coded(data)
        for header in headers:
            yield (header >> 1) & 63 if self._hevc else header & 31


def _length_bytes(extradata: bytes, codec: str) -> int:
    """Bytes of a NAL unit's length prefix; 0 where units follow start codes (avcC and hvcC begin with 1)."""
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def _length_prefixed(data: bytes, length_bytes: int) -> Iterator[int]:
    at = 0
    while at + length_bytes < len(data):
        yield data[at + length_bytes]
        at += length_bytes + int.from_bytes(data[at : at + length_bytes], "big")


def _start_coded(data: bytes) -> Iterator[int]:
    at = data.find(b"\x00\x00\x01")
    while 0 <= at < len(data) - 3:
        yield data[at + 3]
        at = data.find(b"\x00\x00\x01", at + 3)

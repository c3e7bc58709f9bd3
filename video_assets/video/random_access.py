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
        entry_units: NAL unit types one of which makes it an entry; None for codecs without such units.
        parameter_sets: NAL unit types it must also hold, where the container does not carry them apart.
        skips_unreferenced: the decoder may leave out frames that no other frame refers to. Not HEVC, where
            such frames can still serve higher temporal layers; not VP8/9 and AV1, whose frames also adapt
            the entropy coder.
    """

    entry_units: frozenset[int] | None = None
    parameter_sets: frozenset[int] = frozenset()
    skips_unreferenced: bool = False


# MPEG-1/2/4 are not here: a lost packet shifts the times of later frames, which only a full decode shows.
# H.264: IDR only. A recovery point promises correct pictures only "approximately", and later.
# HEVC: IDR, BLA and CRA; a CRA's leading pictures need the group before it, see `plan`.
_RULES = {
    "h264": _Rules(frozenset({5}), frozenset({7, 8}), skips_unreferenced=True),
    "hevc": _Rules(frozenset(range(16, 22)), frozenset({33, 34})),
    "vp8": _Rules(),
    "vp9": _Rules(),
    "av1": _Rules(),
    "mjpeg": _Rules(),
}


def skips_unreferenced(codec: str) -> bool:
    """Whether unreferenced frames of `codec` (FFmpeg's name) may be left out of decoding."""
    return codec in _RULES and _RULES[codec].skips_unreferenced


def shows_each_packet(codec: str) -> bool:
    """Whether each packet gives a frame to show, where the index has no doubt. In VP8/9 some only serve others."""
    return codec in _RULES and not codec.startswith("vp")


class RandomAccess:
    """Judges the packets of one stream, in decode order."""

    def __init__(self, context: VideoCodecContext) -> None:
        codec = context.codec.canonical_name
        self._rules = _RULES.get(codec)
        self._hevc = codec == "hevc"
        self._length_bytes = _length_bytes(context.extradata or b"", codec)
        self._first = True
        self.doubt = "" if self._rules else f"no rules for skipping parts of {codec}"

    def starts_at(self, packet: Packet[VideoStream]) -> bool:
        """Whether a decoder that starts at this packet gives exactly what a full decode gives."""
        if not self._first and packet.has_sidedata("new_extradata"):
            self.doubt = "the decoder's set-up changes within the stream"
        self._first = False
        if self._rules is None or not packet.is_keyframe:
            return False
        if self._rules.entry_units is None:
            return True
        kinds = set(self._unit_types(bytes(packet)))
        if not self._length_bytes and not kinds.issuperset(self._rules.parameter_sets):
            return False
        return not kinds.isdisjoint(self._rules.entry_units)

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

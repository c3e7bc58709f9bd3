"""Where decoding may start, and which frames may be left out, without changing any other frame's pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
        parameter_sets: NAL unit types that must come before, where the container does not carry them apart, or no
            longer the ones that are in use.
        skips_unreferenced: the decoder may leave out frames that no other frame refers to; of HEVC only in
            streams of one temporal layer, as such frames can still serve higher ones. Not VP8/9 and AV1,
            whose frames also adapt the entropy coder.
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
    "hevc": _Rules(frozenset(range(32)), frozenset(range(16, 22)), frozenset({33, 34}), skips_unreferenced=True),
    "vp8": _Rules(),
    "vp9": _Rules(),
    "av1": _Rules(),
    "mjpeg": _Rules(),
}


_HEVC_SPS = 33


def shows_each_packet(codec: str) -> bool:
    """Whether each packet gives a frame to show, where the index has no doubt. In VP8/9 some only serve others."""
    return codec in _RULES and not codec.startswith("vp")


def has_rules(codec: str) -> bool:
    """Whether parts of a stream of `codec` (FFmpeg's name) may be left out of decoding."""
    return codec in _RULES


class RandomAccess:
    """Judges the packets of one stream, in decode order."""

    def __init__(self, context: VideoCodecContext) -> None:
        codec = context.codec.canonical_name
        self._rules = _RULES.get(codec)
        self._hevc = codec == "hevc"
        self._set_up = context.extradata or b""
        self._length_bytes = _length_bytes(self._set_up, codec)
        self._set_up_holds = bool(self._length_bytes)
        self._layers = self._declared_layers() if self._hevc else {1}
        self._first = True
        self.doubt = "" if self._rules else f"no rules for skipping parts of {codec}"

    @property
    def skips_unreferenced(self) -> bool:
        """Whether frames that no other refers to may be left out; certain once all packets were judged."""
        return self._rules is not None and self._rules.skips_unreferenced and self._layers == {1}

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
        before: list[bytes] = []
        for unit in _length_prefixed(data, self._length_bytes) if self._length_bytes else _start_coded(data):
            if self._type(unit) in self._rules.slices:
                complete = self._with_set_up(before, self._rules.parameter_sets)
                return complete and self._type(unit) in self._rules.entry_slices
            before.append(unit)
        return None

    def skips_whole(self, packet: Packet[VideoStream]) -> bool:
        """Whether a decoder told to leave out frames that no other refers to takes a packet's slices all alike.

        Of a packet that holds such a frame and another, it would decode the other, which a full decode does not.
        """
        slices = self._rules.slices if self._rules is not None else None
        parts = (unit for unit in self._units(bytes(packet)) if slices is not None and self._type(unit) in slices)
        return len(set(map(self._referenced, parts))) < 2

    def _units(self, data: bytes) -> Iterator[bytes]:
        if not self._length_bytes:
            yield from _start_coded(data)
            return
        for unit in _length_prefixed(data, self._length_bytes):
            yield unit
            yield from _start_coded(unit)  # FFmpeg finds those, too.

    def _referenced(self, unit: bytes) -> bool:
        kind = self._type(unit)
        return kind > 15 or kind % 2 == 1 if self._hevc else bool(unit[0] & 0x60)

    def _with_set_up(self, units: list[bytes], parameter_sets: frozenset[int]) -> bool:
        """Whether a decoder knows its parameter sets after `units`, by them or by the container.

        Parameter sets in a packet may replace those that the container carries.
        """
        for unit in units:
            if self._type(unit) in parameter_sets and unit not in self._set_up:
                self._set_up_holds = False
                self._layers.update(_layers([unit]) if self._hevc else ())
        return self._set_up_holds or parameter_sets.issubset(map(self._type, units))

    def _type(self, unit: bytes) -> int:
        return (unit[0] >> 1) & 63 if self._hevc else unit[0] & 31

    def _declared_layers(self) -> set[int]:
        """Temporal layers by the set-up: hvcC's numTemporalLayers (0: unknown), or its parameter sets."""
        if self._length_bytes:
            return {(self._set_up[21] >> 3) & 7}
        return _layers(_start_coded(self._set_up))


def _layers(units: Iterable[bytes]) -> set[int]:
    """sps_max_sub_layers_minus1 + 1 (ITU-T H.265, 7.3.2.2.1) of the sequence parameter sets among HEVC units."""
    return {((unit[2] >> 1) & 7) + 1 for unit in units if len(unit) > 2 and (unit[0] >> 1) & 63 == _HEVC_SPS}


def _length_bytes(extradata: bytes, codec: str) -> int:
    """Bytes of a NAL unit's length prefix; 0 where units follow start codes (avcC and hvcC begin with 1)."""
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def _length_prefixed(data: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at + length_bytes < len(data):
        start = at + length_bytes
        at = start + int.from_bytes(data[at:start], "big")
        yield data[start : max(at, start + 1)]


def _start_coded(data: bytes) -> Iterator[bytes]:
    """The first three bytes of each unit."""
    at = data.find(b"\x00\x00\x01")
    while 0 <= at < len(data) - 3:
        yield data[at + 3 : at + 6]
        at = data.find(b"\x00\x00\x01", at + 3)

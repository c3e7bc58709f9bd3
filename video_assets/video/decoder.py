"""Frames out of FFmpeg's decoder: as a plan has them, or every one of a file that may be damaged."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

from video_assets.video.container import complaints, demux, reason_of
from video_assets.video.damage import Damage
from video_assets.video.errors import OutOfMemory
from video_assets.video.h264_headers import H264Headers, NotFollowed
from video_assets.video.h264_references import stand_ins
from video_assets.video.plan import DecodePlan, Step
from video_assets.video.random_access import RandomAccess
from video_assets.video.reach import DamageReach

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

Numbered = tuple[int, "Packet[VideoStream]"]
"""A packet and its number in the file."""

Timed = tuple[int, "VideoFrame"]
"""A frame and its presentation time."""


class PlanError(Exception):
    """What came out of the decoder is not what was planned."""


def settled(samples: Iterator[Timed], reach: DamageReach) -> Iterator[Timed]:
    """The samples, each kept back until damage in what it may refer to is known."""
    held: deque[Timed] = deque()
    for sample in samples:
        held.append(sample)
        del sample
        while held and reach.settled(held[0][1]):
            yield held.popleft()
    yield from held


def planned_frames(
    container: InputContainer, stream: VideoStream, plan: DecodePlan, reach: DamageReach
) -> Iterator[VideoFrame]:
    """Frames as the plan has them come out; at the first sign of damage the plan is given up.

    What a decoder conceals depends on frames the plan leaves out, so only a flawless decode is exact.
    """
    import av

    context, steps = stream.codec_context, plan.steps.tolist()
    access = RandomAccess(context)
    packets = zip(range(plan.end), _video_packets(container, stream), strict=False)
    context.options = {**context.options, "err_detect": "explode"}
    before = complaints()
    try:
        for number, packet in _needed(packets, plan, context):
            step = steps[number]
            skips = step == Step.REFERENCE and access.skips_whole(packet)
            context.skip_frame = "NONREF" if skips else "DEFAULT"
            reach.goes_in(number, packet)
            frames = context.decode(packet)
            if step == Step.LAST:
                frames += context.decode(None)
                context.flush_buffers()
                reach.all_came_out()
            if complaints() != before or any(frame.is_corrupt for frame in frames):
                raise PlanError("the decoder reports errors")
            yield from _out(frames, reach)
    except av.FFmpegError as error:
        raise PlanError(f"a packet could not be decoded: {reason_of(error)}") from error


def _needed(packets: Iterable[Numbered], plan: DecodePlan, context: VideoCodecContext) -> Iterator[Numbered]:
    """The packets for the plan's targets. Some stretches are held until their end, to see what they need."""
    steps = plan.steps.tolist()
    headers = _headers(context) if plan.together else None
    held: list[Numbered] = []
    for number, packet in packets:
        if steps[number] == Step.SKIP:
            continue
        if headers is not None and not headers.hold_after(memoryview(packet)):
            yield from held
            held.clear()
            headers = None
        if headers is None or not (held or number in plan.together):
            yield number, packet
            continue
        held.append((number, packet))
        if steps[number] == Step.LAST:
            wanted = [steps[other] != Step.REFERENCE for other, _ in held]
            replaced = stand_ins(headers, [memoryview(other) for _, other in held], wanted)
            for (other, whole), data in zip(held, replaced, strict=True):
                yield other, whole if data is None else _in_place_of(whole, data)
            held.clear()
    yield from held  # The file ends before the plan does.


def _in_place_of(packet: Packet[VideoStream], data: bytes) -> Packet[VideoStream]:
    import av

    made: Packet[Any] = av.Packet(data)
    made.pts, made.dts, made.duration, made.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    return made


def _headers(context: VideoCodecContext) -> H264Headers | None:
    try:
        return H264Headers(context.extradata or b"")
    except NotFollowed:
        return None


def all_frames(container: InputContainer, stream: VideoStream, damage: Damage, label: str) -> Iterator[VideoFrame]:
    """Every frame the decoder gives; what it cannot decode is noted in `damage` and left out."""
    import av

    packets = _video_packets(container, stream)
    for number in count():
        packet: Packet[VideoStream] | None = None
        before = complaints()
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            damage.reading = reason_of(error)
        if complaints() != before:
            damage.note_container(number)
        if packet is not None and packet.is_corrupt:
            damage.note_incomplete(number)
        yield from _out(_decode(stream, number, packet, damage, label), damage.reach)
        if packet is None:
            return


def _decode(
    stream: VideoStream, number: int, packet: Packet[VideoStream] | None, damage: Damage, label: str
) -> list[VideoFrame]:
    """What comes out of the decoder for a packet, or at the end for none."""
    import av

    before = complaints()
    frames: list[VideoFrame] = []
    if packet is not None:
        damage.reach.goes_in(number, packet)
    try:
        frames = stream.codec_context.decode(packet)
    except MemoryError as error:
        raise OutOfMemory(label) from error
    except av.FFmpegError as error:
        damage.note_lost(number, reason_of(error))
    else:
        if complaints() != before:
            damage.note_complaint(number)
    if packet is None:
        damage.reach.all_came_out()
    return frames


def _out(frames: list[VideoFrame], reach: DamageReach) -> Iterator[VideoFrame]:
    """The frames, none of them kept."""
    for frame in frames:
        reach.came_out(frame)
    while frames:
        yield frames.pop(0)


def _video_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Without empty packets: a decoder takes one for the end of the stream, and AVI has them in between."""
    return (packet for packet in demux(container, stream) if packet.size)

"""Sampled frames of one video, bit for bit those of a full decode, by a plan where one can be trusted."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Literal

from video_assets.video.clock import FrameClock
from video_assets.video.container import Source, complaints, demux, label_of, media_file, open_video, reason_of
from video_assets.video.damage import Damage
from video_assets.video.errors import DecodeError, MediaError, OutOfMemory
from video_assets.video.index import VideoIndex, index_video
from video_assets.video.media_file import MediaFile
from video_assets.video.plan import DecodePlan, Step, plan_decode, plan_times
from video_assets.video.random_access import shows_each_packet
from video_assets.video.reach import DamageReach
from video_assets.video.sampling import Sampler, SamplingPolicy, Scenes
from video_assets.video.scenes import require_scene_detection, scene_times
from video_assets.video.truncation import with_truncation

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

    Timed = tuple[int, VideoFrame]
    """A frame and its presentation time."""


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """How a decode went.

    Attributes:
        mode: `planned` left out what no sample needs; `sequential` decoded the whole file.
        reason: why it was not (or not only) planned; empty otherwise.
        decoded: frames that came out of the decoder, over all attempts.
        sampled: frames handed out.
        derived_times: frames whose presentation time had to be derived; those times are a best guess.
        lost: packets that gave no frame, and were to give one.
        concealed: frames that came out with errors, which the decoder concealed.
        bytes_read, bytes_total: fetched from the source, over all passes; and the size of the file.
        problem: what is wrong with the file although frames came out of it: a `DecodeError` where frames
            were lost, a `ConcealedErrors` where they only had errors, a `TruncatedMedia` where the end is
            missing. A planned decode sees damage only in the parts that samples need.
    """

    mode: Literal["planned", "sequential"]
    reason: str = ""
    decoded: int = 0
    sampled: int = 0
    derived_times: int = 0
    lost: int = 0
    concealed: int = 0
    bytes_read: int = 0
    bytes_total: int = 0
    problem: MediaError | None = None

    @property
    def decode_errors(self) -> int:
        """Packets that could not be decoded, or only with errors."""
        return self.lost + self.concealed


class SampledFrames:
    """The samples of a video as decoded frames; iterate once, then read `report`.

        frames = SampledFrames(path, EverySeconds.at_rate(1))
        for pts, frame in frames:
            if frames.damaged: ...
        if frames.report.problem: ...

    Good frames of a damaged file are still handed out; `report.problem` then says what is missing.

    Args:
        source: a path or a seekable binary file, read as little as the samples allow (see `MediaFile`).
        policy: which frames.
        label: the item named in errors; by default the path.
        index: the file's index, if it is already known.
        planned: False decodes every packet.

    Raises:
        UnreadableMedia, NotAVideo, NoVideoStream: on construction.
        SceneDetectionUnavailable: on construction, for `Scenes` without its extra.
        DecodeError: while iterating, where not one frame can be decoded.
    """

    def __init__(
        self,
        source: Source | MediaFile,
        policy: SamplingPolicy,
        *,
        label: str = "",
        index: VideoIndex | None = None,
        planned: bool = True,
    ) -> None:
        if isinstance(policy, Scenes):
            require_scene_detection()
        self.label = label_of(source, label)
        self._file, self._policy = media_file(source, self.label), policy
        self.index = index or index_video(self._file)
        self._may_plan = planned
        self._plan = plan_decode(self.index, policy) if planned else None
        needs_all = "a scene shows only in a full decode" if isinstance(policy, Scenes) else ""
        reason = "" if self._plan else (needs_all or self.index.doubt or "no plan")
        self._progress = DecodeReport("planned" if self._plan else "sequential", reason)
        self._report: DecodeReport | None = None
        self._start: int | None = None
        self._damaged = False
        self._scenes: frozenset[int] = frozenset()

    @property
    def damaged(self) -> bool:
        """Whether the frame last handed out may show damage: its own, or that of a frame it may refer to."""
        return self._damaged

    @property
    def start_pts(self) -> int:
        """Presentation time of the first presented frame; known once the first sample is out."""
        if self._start is None:
            raise RuntimeError("the start is known once the first sample is out")
        return self._start

    @property
    def report(self) -> DecodeReport:
        """Available once every frame has been taken."""
        if self._report is None:
            raise RuntimeError("the report is complete only after the last frame")
        return self._report

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        """Presentation time (in `index.time_base`) and frame, in presentation order."""
        given: list[int] = []
        damage: DecodeError | None = None
        plan, followed = self._plan, False
        if isinstance(self._policy, Scenes):
            damage = self._find_scenes()
            plan = plan_times(self.index, self._scenes) if self._may_plan else None
        if plan:
            try:
                yield from self._follow(plan, given)
                followed = True
            except _PlanError as failure:
                self._progress = replace(self._progress, mode="sequential", reason=str(failure))
        if not followed:
            damage = yield from self._decode_all(given)
        self._report = replace(
            self._progress,
            sampled=len(given),
            bytes_read=self._file.bytes_read,
            bytes_total=self._file.bytes_total,
            problem=with_truncation(self.index, damage, label=self.label),
        )

    def _follow(self, plan: DecodePlan, given: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        self._start = int(self.index.pts[self.index.presented[0]])
        with open_video(self._file, self.label, sparse=True) as (container, stream):
            self._file.want(plan.ranges(self.index))
            reach = DamageReach(self.index, stream.codec_context)
            frames = self._targets(_planned_frames(container, stream, plan, reach), plan)
            for pts, frame in _settled(frames, reach):
                given.append(pts)
                yield pts, frame
                del frame  # Not kept while the next one comes out: in 4K of 10 bits it is 25 MB.
        if len(given) != len(plan.targets):
            raise _PlanError(f"{len(plan.targets) - len(given)} planned frames did not come out")

    def _targets(self, frames: Iterator[VideoFrame], plan: DecodePlan) -> Iterator[Timed]:
        """Those of the frames that were planned for, in the order of the plan."""
        wanted = iter(plan.targets)
        target = next(wanted, None)
        for frame in frames:
            self._count_frame()
            if target is not None and frame.pts == target:
                yield target, frame
                target = next(wanted, None)
            del frame

    def _find_scenes(self) -> DecodeError | None:
        """Sets the times at which scenes begin; their frames are decoded again, since none is held meanwhile."""
        with self._decoding() as (frames, damage, clock):
            self._scenes = frozenset(scene_times(frames, self.index.time_base, label=self.label))
        return self._verdict(damage, clock)

    def _decode_all(self, given: list[int]) -> Generator[Timed, None, DecodeError | None]:
        """Samples out of every presented frame; the first of them may have been handed out already."""
        already, matched = tuple(given), 0
        with self._decoding() as (frames, damage, clock):
            for pts, frame in _settled(self._choose(frames), damage.reach):
                self._damaged = damage.reach.reaches(frame)
                if matched < len(already):
                    self._check_same(pts, already[matched])
                    matched += 1
                else:
                    given.append(pts)
                    yield pts, frame
                del frame
        if matched < len(already):
            self._check_same(None, already[matched])
        return self._verdict(damage, clock)

    @contextlib.contextmanager
    def _decoding(self) -> Iterator[tuple[Iterator[Timed], Damage, FrameClock]]:
        """Every presented frame with its time, and what is found out on the way."""
        with open_video(self._file, self.label) as (container, stream):
            clock = FrameClock(self.index.time_base, stream, self.index)
            damage = Damage(DamageReach(self.index, stream.codec_context))
            frames = _all_frames(container, stream, damage, self.label)
            yield self._timed(frames, clock, damage), damage, clock

    def _verdict(self, damage: Damage, clock: FrameClock) -> DecodeError | None:
        """What is wrong with the file, after its last frame."""
        if not self._progress.decoded:
            raise DecodeError(self.label, f"no frame can be decoded{damage.because}")
        counted = not self.index.doubt and shows_each_packet(self.index.codec)
        expected = self.index.frame_count if counted else 0
        error = damage.as_error(self.label, expected=expected, disordered=clock.disordered)
        self._progress = replace(
            self._progress, derived_times=clock.derived, lost=damage.lost, concealed=damage.concealed
        )
        return error

    def _timed(self, frames: Iterator[VideoFrame], clock: FrameClock, damage: Damage) -> Iterator[Timed]:
        def timed(frame: VideoFrame) -> Timed:
            self._count_frame()
            pts = clock.time_of(frame)
            self._start = pts if self._start is None else self._start
            damage.note_frame(frame, float(pts * self.index.time_base))
            return pts, frame

        return map(timed, frames)  # Which holds no frame, as a generator's variable would.

    def _choose(self, frames: Iterator[Timed]) -> Iterator[Timed]:
        """The samples of the policy among all frames."""
        index = self.index
        if isinstance(self._policy, Scenes):
            return filter(lambda timed: timed[0] in self._scenes, frames)
        sampler = Sampler(self._policy, index.time_base, frames=index.frame_count, length=index.length)
        key_times = index.key_times

        def taken(timed: Timed) -> bool:
            pts, frame = timed
            return sampler.takes(pts, frame.key_frame if key_times is None else pts in key_times)

        return filter(taken, frames)  # Which holds no frame either.

    def _check_same(self, pts: int | None, planned: int) -> None:
        if pts != planned:
            raise DecodeError(self.label, f"a full decode has no sample at {planned}, where a planned one had")

    def _count_frame(self) -> None:
        self._progress = replace(self._progress, decoded=self._progress.decoded + 1)


class _PlanError(Exception):
    """What came out of the decoder is not what was planned."""


def _settled(samples: Iterator[Timed], reach: DamageReach) -> Iterator[Timed]:
    """The samples, each kept back until damage in what it may refer to is known."""
    held: deque[Timed] = deque()
    for sample in samples:
        held.append(sample)
        del sample
        while held and reach.settled(held[0][1]):
            yield held.popleft()
    yield from held


def _planned_frames(
    container: InputContainer, stream: VideoStream, plan: DecodePlan, reach: DamageReach
) -> Iterator[VideoFrame]:
    """Frames as the plan has them come out; at the first sign of damage the plan is given up.

    What a decoder conceals depends on frames the plan leaves out, so only a flawless decode is exact.
    """
    import av

    context, steps = stream.codec_context, plan.steps
    context.options = {**context.options, "err_detect": "explode"}
    before = complaints()
    try:
        for number, packet in zip(range(plan.end), _video_packets(container, stream), strict=False):
            step = Step(steps[number])
            if step is Step.SKIP:
                continue
            context.skip_frame = "NONREF" if step is Step.REFERENCE else "DEFAULT"
            reach.goes_in(number, packet)
            frames = context.decode(packet)
            if step is Step.LAST:
                frames += context.decode(None)
                context.flush_buffers()
                reach.all_came_out()
            if complaints() != before or any(frame.is_corrupt for frame in frames):
                raise _PlanError("the decoder reports errors")
            yield from _out(frames, reach)
    except av.FFmpegError as error:
        raise _PlanError(f"a packet could not be decoded: {reason_of(error)}") from error


def _all_frames(container: InputContainer, stream: VideoStream, damage: Damage, label: str) -> Iterator[VideoFrame]:
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

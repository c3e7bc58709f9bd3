"""Sampled frames of one video, bit for bit those of a full decode, by a plan where one can be trusted."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

from video_assets.video.container import (
    Source,
    complaints,
    demux,
    label_of,
    last_complaint,
    media_file,
    open_video,
    reason_of,
)
from video_assets.video.errors import ConcealedErrors, DecodeError, MediaError, OutOfMemory
from video_assets.video.index import NO_TIME, VideoIndex, index_video
from video_assets.video.media_file import MediaFile
from video_assets.video.plan import DecodePlan, Step, plan_decode
from video_assets.video.random_access import shows_each_packet
from video_assets.video.sampling import Sampler, SamplingPolicy, Scenes
from video_assets.video.scenes import require_scene_detection, scene_starts
from video_assets.video.truncation import with_truncation

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """How a decode went.

    Attributes:
        mode: `planned` left out what no sample needs; `sequential` decoded the whole file.
        reason: why it was not (or not only) planned; empty otherwise.
        decoded: frames that came out of the decoder, over all attempts.
        sampled: frames handed out.
        derived_times: frames whose presentation time had to be derived; those times are a best guess.
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
    bytes_read: int = 0
    bytes_total: int = 0
    problem: MediaError | None = None


class SampledFrames:
    """The samples of a video as decoded frames; iterate once, then read `report`.

        frames = SampledFrames(path, EverySeconds.at_rate(1))
        for pts, frame in frames: ...
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
        self._plan = plan_decode(self.index, policy) if planned else None
        needs_all = "a scene shows only in a full decode" if isinstance(policy, Scenes) else ""
        reason = "" if self._plan else (needs_all or self.index.doubt or "no plan")
        self._progress = DecodeReport("planned" if self._plan else "sequential", reason)
        self._report: DecodeReport | None = None
        self._start: int | None = None

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
        if self._plan:
            try:
                yield from self._follow(self._plan, given)
            except _PlanError as failure:
                self._progress = replace(self._progress, mode="sequential", reason=str(failure))
        if self._progress.mode == "sequential":
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
            for frame in _planned_frames(container, stream, plan):
                self._count_frame()
                pts = frame.pts
                if len(given) < len(plan.targets) and pts == plan.targets[len(given)]:
                    given.append(pts)
                    yield pts, frame
                del frame  # Not kept while the next one comes out: in 4K of 10 bits it is 25 MB.
        if len(given) != len(plan.targets):
            raise _PlanError(f"{len(plan.targets) - len(given)} planned frames did not come out")

    def _decode_all(self, given: list[int]) -> Generator[tuple[int, VideoFrame], None, DecodeError | None]:
        """Samples out of every presented frame; the first of them may have been handed out already."""
        already, matched = tuple(given), 0
        with open_video(self._file, self.label) as (container, stream):
            clock = _Clock(self.index.time_base, stream, self.index)
            damage = _Damage()
            frames = _all_frames(container, stream, damage, self.label)
            for pts, frame in self._choose(self._timed(frames, clock, damage)):
                if matched < len(already):
                    self._check_same(pts, already[matched])
                    matched += 1
                else:
                    given.append(pts)
                    yield pts, frame
                del frame
        if matched < len(already):
            self._check_same(None, already[matched])
        self._progress = replace(self._progress, derived_times=clock.derived)
        if not self._progress.decoded:
            raise DecodeError(self.label, f"no frame can be decoded{damage.because}")
        damage.disordered = clock.disordered
        counted = self._plan is not None and shows_each_packet(self.index.codec)
        return damage.as_error(self.label, self.index.frame_count if counted else 0)

    def _timed(self, frames: Iterator[VideoFrame], clock: _Clock, damage: _Damage) -> Iterator[tuple[int, VideoFrame]]:
        for frame in frames:
            self._count_frame()
            pts = clock.time_of(frame)
            self._start = pts if self._start is None else self._start
            damage.note(frame, float(pts * self.index.time_base))
            yield pts, frame

    def _choose(self, frames: Iterator[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
        """The samples of the policy among all frames."""
        index = self.index
        if isinstance(self._policy, Scenes):
            return scene_starts(frames, index.time_base, label=self.label)
        sampler = Sampler(self._policy, index.time_base, frames=index.frame_count, length=index.length)
        key_times = index.key_times
        return (
            (pts, frame)
            for pts, frame in frames
            if sampler.takes(pts, frame.key_frame if key_times is None else pts in key_times)
        )

    def _check_same(self, pts: int | None, planned: int) -> None:
        if pts != planned:
            raise DecodeError(self.label, f"a full decode has no sample at {planned}, where a planned one had")

    def _count_frame(self) -> None:
        self._progress = replace(self._progress, decoded=self._progress.decoded + 1)


class _PlanError(Exception):
    """What came out of the decoder is not what was planned."""


def _planned_frames(container: InputContainer, stream: VideoStream, plan: DecodePlan) -> Iterator[VideoFrame]:
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
            frames = context.decode(packet)
            if step is Step.LAST:
                frames += context.decode(None)
                context.flush_buffers()
            if complaints() != before or any(frame.is_corrupt for frame in frames):
                raise _PlanError("the decoder reports errors")
            while frames:
                yield frames.pop(0)
    except av.FFmpegError as error:
        raise _PlanError(f"a packet could not be decoded: {reason_of(error)}") from error


def _all_frames(container: InputContainer, stream: VideoStream, damage: _Damage, label: str) -> Iterator[VideoFrame]:
    """Every frame the decoder gives; what it cannot decode is noted in `damage` and left out."""
    import av

    context = stream.codec_context
    packets = _video_packets(container, stream)
    while True:
        packet: Packet[VideoStream] | None = None
        before = complaints()
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            damage.reading = reason_of(error)
        damage.note_container(complaints() - before)
        damage.incomplete += packet is not None and packet.is_corrupt
        frames: list[VideoFrame] = []
        try:
            frames = context.decode(packet)
        except MemoryError as error:
            raise OutOfMemory(label) from error
        except av.FFmpegError as error:
            damage.note_lost(reason_of(error))
        while frames:
            yield frames.pop(0)
        if packet is None:
            return


def _video_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Without empty packets: a decoder takes one for the end of the stream, and AVI has them in between."""
    return (packet for packet in demux(container, stream) if packet.size)


class _Clock:
    """Presentation times of decoded frames, also where the container gives none.

    As FFmpeg's own best effort: the frame's time, unless such times have gone wrong more often than decode
    times have, and the index has doubts too; then the decode time. Where there is neither, one frame after the
    one before; the first frames so that they lead up to the first time there is.
    """

    def __init__(self, time_base: Fraction, stream: VideoStream, index: VideoIndex | None = None) -> None:
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self._step = max(round(1 / (rate * time_base)), 1)
        self._first = 0 if index is None else _before_the_first(index, self._step)
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._last: int | None = None
        self._faults_pts = self._faults_dts = 0
        self._trusted = index is not None and not index.doubt
        self.derived = 0

    @property
    def disordered(self) -> int:
        """Frames that came out with a time not after the one before, where the packets' times are in order."""
        return self._faults_pts if self._trusted else 0

    def time_of(self, frame: VideoFrame) -> int:
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self._faults_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faults_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        usable = pts is not None and (self._trusted or self._faults_pts <= self._faults_dts or dts is None)
        time = pts if usable else dts
        if not usable:
            self.derived += 1
        if time is None:
            time = self._first if self._last is None else self._last + (frame.duration or self._step)
        self._last = time
        return time


def _before_the_first(index: VideoIndex, step: int) -> int:
    """When the stream began, if its first packets lack their times; 0 if all do."""
    known = np.flatnonzero(index.pts != NO_TIME)
    return int(index.pts[known].min()) - int(known[0]) * step if len(known) else 0


class _Damage:
    """What went wrong in a sequential decode."""

    def __init__(self) -> None:
        self.reading = ""
        self.incomplete = self.disordered = 0
        self._container = ""
        self._frames = self._lost = self._concealed = 0
        self._first = ""
        self._seen_s: float | None = None

    def note(self, frame: VideoFrame, at_s: float) -> None:
        self._seen_s = at_s
        self._frames += 1
        if frame.is_corrupt:
            self._concealed += 1
            self._first = self._first or f"at {at_s:.3f} s"

    def note_container(self, complaints: int) -> None:
        """Containers are read on behind damage, without what lay there."""
        if complaints and not self._container:
            self._container = f"{self._place}: {last_complaint()}"

    def note_lost(self, reason: str) -> None:
        self._lost += 1
        self._first = self._first or f"{self._place}: {reason}"

    @property
    def _place(self) -> str:
        return "at the start" if self._seen_s is None else f"after {self._seen_s:.3f} s"

    @property
    def because(self) -> str:
        return f" ({self.reading or self._first})" if self.reading or self._first else ""

    def as_error(self, label: str, expected: int) -> DecodeError | None:
        """`expected`: at least so many frames must have come out."""
        said = []
        if self._lost:
            said.append(f"{self._lost} packets could not be decoded")
        if self._concealed:
            said.append(f"{self._concealed} frames were decoded with errors")
        if said:
            said[-1] += f", first {self._first}"
        if self.incomplete:
            said.append(f"{self.incomplete} packets are incomplete")
        if self.disordered:
            said.append(f"{self.disordered} frames came out of their order")
        if not said and self._frames < expected:
            said.append(f"{expected - self._frames} of {expected} frames did not come out of the decoder")
        if self._container:
            said.append(f"the container's reader met errors, first {self._container}")
        if self.reading:
            said.append(f"reading stopped early: {self.reading}")
        kind = DecodeError if self._lost or self.reading else ConcealedErrors
        return kind(label, "; ".join(said), "Fetch the file again, or repair it") if said else None

"""Sampled frames of one video, bit for bit those of a full decode, by a plan where one can be trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from video_assets.video.clock import FrameClock
from video_assets.video.container import Source, label_of, media_file, open_video
from video_assets.video.damage import Damage
from video_assets.video.decoder import PlanError, Timed, all_frames, planned_frames, settled
from video_assets.video.errors import DecodeError, MediaError
from video_assets.video.index import VideoIndex, index_video
from video_assets.video.media_file import MediaFile
from video_assets.video.plan import DecodePlan, plan_decode, plan_times
from video_assets.video.random_access import shows_each_packet
from video_assets.video.reach import DamageReach
from video_assets.video.sampling import Sampler, SamplingPolicy, Scenes
from video_assets.video.scenes import require_scene_detection, scene_times
from video_assets.video.truncation import with_truncation

if TYPE_CHECKING:
    from av import VideoFrame


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
        self._decoded = 0
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
            except PlanError as failure:
                self._progress = replace(self._progress, mode="sequential", reason=str(failure))
        if not followed:
            damage = yield from self._decode_all(given)
        self._report = replace(
            self._progress,
            decoded=self._decoded,
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
            frames = self._targets(planned_frames(container, stream, plan, reach), plan)
            for pts, frame in settled(frames, reach):
                given.append(pts)
                yield pts, frame
                del frame  # Not kept while the next one comes out: in 4K of 10 bits it is 25 MB.
        if len(given) != len(plan.targets):
            raise PlanError(f"{len(plan.targets) - len(given)} planned frames did not come out")

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
            for pts, frame in settled(self._choose(frames), damage.reach):
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
            frames = all_frames(container, stream, damage, self.label)
            yield self._timed(frames, clock, damage), damage, clock

    def _verdict(self, damage: Damage, clock: FrameClock) -> DecodeError | None:
        """What is wrong with the file, after its last frame."""
        if not self._decoded:
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
        self._decoded += 1

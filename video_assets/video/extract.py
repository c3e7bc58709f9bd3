"""Sampled frames of a video as image files in memory, with exact times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from video_assets.video.container import Source
from video_assets.video.decode import DecodeReport, SampledFrames
from video_assets.video.image import ImageOptions, encode_image
from video_assets.video.index import VideoIndex
from video_assets.video.sampling import SamplingPolicy


@dataclass(frozen=True, slots=True)
class ExtractedFrame:
    """One sample.

    Attributes:
        frame_idx: its number among the samples, from 0.
        pts: exact presentation time in units of `time_base` seconds, on the container's clock.
        pts_s: seconds since the first presented frame, for reading.
        damaged: the decoder had to conceal errors in it.
        width, height, data: the image file and its size as displayed.
    """

    frame_idx: int
    pts: int
    time_base: Fraction
    pts_s: float
    damaged: bool
    width: int
    height: int
    data: bytes


class FrameExtraction:
    """Iterate once for the frames, in presentation order; then read `report`.

        extraction = FrameExtraction(path, EverySeconds.at_rate(1))
        for frame in extraction: ...
        if extraction.report.problem: ...

    Args:
        source: a path or a seekable binary file.
        policy: which frames.
        options: the image format.
        label: the item named in errors; by default the path.

    Raises:
        UnreadableMedia, NotAVideo, NoVideoStream: on construction.
        DecodeError, EncodeError: while iterating.
    """

    def __init__(
        self, source: Source, policy: SamplingPolicy, options: ImageOptions | None = None, *, label: str = ""
    ) -> None:
        self._frames = SampledFrames(source, policy, label=label)
        self._options = options or ImageOptions()

    @property
    def index(self) -> VideoIndex:
        """What the container holds."""
        return self._frames.index

    @property
    def report(self) -> DecodeReport:
        """Available once every frame has been taken."""
        return self._frames.report

    def __iter__(self) -> Iterator[ExtractedFrame]:
        index = self.index
        numbers = count()  # enumerate() would keep the frame
        for pts, frame in self._frames:
            image = encode_image(frame, self._options, index.orientation, label=self._frames.label)
            yield ExtractedFrame(
                frame_idx=next(numbers),
                pts=pts,
                time_base=index.time_base,
                pts_s=float((pts - self._frames.start_pts) * index.time_base),
                damaged=frame.is_corrupt,
                width=image.width,
                height=image.height,
                data=image.data,
            )
            del frame, image

"""Sampled frames of a video as image files in memory, with exact times and what they are worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from video_assets.video.black_bars import find_picture
from video_assets.video.container import Source, media_file
from video_assets.video.crop import Box, Crop, cut
from video_assets.video.decode import DecodeReport, SampledFrames
from video_assets.video.filters import FrameFilters, Rejection
from video_assets.video.image import EncodedImage, ImageOptions, encode_image
from video_assets.video.index import VideoIndex
from video_assets.video.quality import FrameQuality, hamming_distance, measure_quality
from video_assets.video.sampling import SamplingPolicy


@dataclass(frozen=True, slots=True)
class ExtractedFrame:
    """One sample.

    Attributes:
        frame_idx: its number among the samples, from 0.
        pts: exact presentation time in units of `time_base` seconds, on the container's clock.
        pts_s: seconds since the first presented frame, for reading.
        damaged: it may show damage: the decoder met errors in it, or in what it may refer to.
        crop: the box that was cut out of it; None where it is whole.
        quality: what was measured of it, after the crop.
        phash_distance: bits in which its hash differs from that of the frame kept before it, which is the last one
            that is neither filtered nor damaged; None where there is none.
        rejection: why it is filtered; None where it is not.
        image: the image file; None where it is filtered.
    """

    frame_idx: int
    pts: int
    time_base: Fraction
    pts_s: float
    damaged: bool
    crop: Box | None
    quality: FrameQuality
    phash_distance: int | None
    rejection: Rejection | None
    image: EncodedImage | None


class FrameExtraction:
    """Iterate once for the frames, in presentation order; then read `report`.

        extraction = FrameExtraction(path, EverySeconds.at_rate(1))
        for frame in extraction: ...
        if extraction.report.problem: ...

    Args:
        source: a path or a seekable binary file.
        policy: which frames.
        options: the image format.
        filters: which frames go without an image; by default none.
        crop: what to cut out of every frame before all else; `auto` decodes up to 12 frames more, to find bars.
        label: the item named in errors; by default the path.

    Raises:
        UnreadableMedia, NotAVideo, NoVideoStream: on construction.
        DecodeError, CropError, EncodeError: while iterating.
    """

    def __init__(
        self,
        source: Source,
        policy: SamplingPolicy,
        options: ImageOptions | None = None,
        *,
        filters: FrameFilters | None = None,
        crop: Crop | None = None,
        label: str = "",
    ) -> None:
        self._file, self._crop = media_file(source, label), crop
        self._frames = SampledFrames(self._file, policy, label=label)
        self._options = options or ImageOptions()
        self._filters = filters or FrameFilters()

    @property
    def index(self) -> VideoIndex:
        """What the container holds."""
        return self._frames.index

    @property
    def report(self) -> DecodeReport:
        """Available once every frame has been taken."""
        return self._frames.report

    def __iter__(self) -> Iterator[ExtractedFrame]:
        index, label = self.index, self._frames.label
        box = find_picture(self._file, index, label=label) if self._crop == "auto" else self._crop
        kept: int | None = None
        numbers = count()  # enumerate() would keep the frame
        for pts, frame in self._frames:
            damaged = self._frames.damaged
            picture = frame if box is None else cut(frame, box, index.orientation, label=label)
            quality = measure_quality(picture, index.orientation, label=label)
            distance = None if kept is None else hamming_distance(quality.phash, kept)
            rejection = self._filters.judge(quality, distance, damaged)
            if rejection is None and not damaged:
                kept = quality.phash
            yield ExtractedFrame(
                frame_idx=next(numbers),
                pts=pts,
                time_base=index.time_base,
                pts_s=float((pts - self._frames.start_pts) * index.time_base),
                damaged=damaged,
                crop=box,
                quality=quality,
                phash_distance=distance,
                rejection=rejection,
                image=None if rejection else encode_image(picture, self._options, index.orientation, label=label),
            )
            del frame, picture

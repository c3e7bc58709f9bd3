"""Where scenes begin: PySceneDetect's judgement of our own decoded frames.

Its `AdaptiveDetector`, which it also takes when nobody chooses: a cut is a frame that differs from the one before
much more than its neighbours do, so that a turning or shaking camera, which changes every frame, makes few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from video_assets.errors import VideoAssetsError
from video_assets.video.container import reason_of
from video_assets.video.errors import DecodeError

if TYPE_CHECKING:
    from av import VideoFrame
    from scenedetect.detectors import AdaptiveDetector

MIN_SCENE_S = 0.6
"""A cut sooner after the one before is not taken: PySceneDetect's default, in seconds to suit any frame rate."""

LONGEST_SIDE = 256
"""Frames are reduced to it (pixels) before they are compared, about as PySceneDetect does by itself."""


class SceneDetectionUnavailable(VideoAssetsError):
    """PySceneDetect, or the OpenCV it works with, is not on this machine."""


def require_scene_detection() -> None:
    """Raises SceneDetectionUnavailable where scenes cannot be found."""
    try:
        import scenedetect  # noqa: F401
    except ImportError as error:
        remedy = "Run: pip install 'video-assets[scene]'"
        raise SceneDetectionUnavailable("PySceneDetect", f"cannot be imported ({error})", remedy) from None


def scene_starts(
    frames: Iterable[tuple[int, VideoFrame]], time_base: Fraction, *, label: str = "video"
) -> Iterator[tuple[int, VideoFrame]]:
    """The first frame, then the first frame of each further scene.

    A cut is known two frames later. Of the frames in between only those are held that may be one, as a rule none or
    one: 4K of 10 bits is 25 MB a frame. None is found within the first or the last two frames.

    Args:
        frames: times in units of `time_base` and frames, all of a video, in presentation order.
        label: the item named in errors.

    Raises:
        DecodeError: frames of this pixel format cannot be compared.
    """
    from scenedetect.common import FrameTimecode, Timecode
    from scenedetect.detectors import AdaptiveDetector

    detector = AdaptiveDetector(min_scene_len=MIN_SCENE_S)
    candidates = _Candidates(detector)
    reduced = _Reducer(label)
    nominal_rate = Fraction(1)  # Asked for, but not used: times are exact.
    begun: int | None = None
    for pts, frame in frames:
        if begun is None:
            yield pts, frame
            begun = pts
        time = FrameTimecode(Timecode(pts, time_base), nominal_rate)
        cuts = detector.process_frame(time, reduced(frame))
        candidates.add(pts, frame, late_enough=(pts - begun) * time_base >= MIN_SCENE_S)
        del frame
        if cuts:
            begun = cuts[0].pts
            yield from candidates.take(begun)


class _Candidates:
    """The frames of the detector's window that may still turn out to be cuts.

    A cut changes by `min_content_val` at least, and by `adaptive_threshold` times the mean of two frames before and two
    after. Those before are known at once: where they alone make it impossible, as in a shaking picture, it is not held.
    """

    def __init__(self, detector: AdaptiveDetector) -> None:
        self._detector = detector
        self._scores: deque[float] = deque(maxlen=detector.window_width)
        self._held: deque[tuple[int, VideoFrame] | None] = deque(maxlen=detector.window_width + 1)

    def add(self, pts: int, frame: VideoFrame, *, late_enough: bool) -> None:
        """The frame that the detector has just seen."""
        # No public name tells the change of a frame without a statistic that costs as much again.
        score = float(self._detector._frame_score or 0)
        least = self._detector.adaptive_threshold * sum(self._scores) / (2 * self._detector.window_width)
        self._scores.append(score)
        possible = late_enough and score >= self._detector.min_content_val and score >= least
        self._held.append((pts, frame) if possible else None)

    def take(self, pts: int) -> Iterator[tuple[int, VideoFrame]]:
        """The frame of that time. The others are not held on, being too soon after it."""
        found = [one for one in self._held if one is not None and one[0] == pts]
        self._held.clear()
        while found:
            yield found.pop()


class _Reducer:
    """Small BGR pictures, all of one size whatever the stream does."""

    def __init__(self, label: str) -> None:
        from av.video.reformatter import VideoReformatter

        self._label = label
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        import av
        from av.video.reformatter import Interpolation

        if self._size is None:
            share = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
            self._size = max(1, round(frame.width * share)), max(1, round(frame.height * share))
        width, height = self._size
        try:
            small = self._reformatter.reformat(
                frame, width=width, height=height, format="bgr24", interpolation=Interpolation.AREA, threads=1
            )
            pixels: Any = small.to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            cause = f"{frame.format.name} frames cannot be compared: {reason_of(error)}"
            raise DecodeError(self._label, cause) from error
        picture: NDArray[np.uint8] = pixels
        return picture

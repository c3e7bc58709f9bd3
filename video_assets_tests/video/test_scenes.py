"""Scene changes: found where they were made and where PySceneDetect itself finds them, on frames of a full decode."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from video_assets.video.decode import SampledFrames
from video_assets.video.errors import DecodeError
from video_assets.video.index import index_video
from video_assets.video.sampling import EverySeconds, Scenes
from video_assets.video.scenes import SceneDetectionUnavailable, require_scene_detection, scene_times
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, pixel_md5, presented_frames, run_ffmpeg
from video_assets_tests.video.make_video import RGB, footage, make_video, moving_picture

CUTS = [0, 24, 50]
"""The frames that begin a scene in what `three_scenes` draws."""

EVERY_FRAME = EverySeconds(Fraction(1, 1_000_000))


def three_scenes(number: int, width: int, height: int) -> RGB:
    """A moving picture, the same in negative, and a dark one."""
    picture = moving_picture(number, width, height)
    return picture if number < CUTS[1] else 255 - picture if number < CUTS[2] else picture // 4


def found(source: Path | io.BytesIO) -> list[tuple[Fraction, str]]:
    frames = SampledFrames(source, Scenes())
    return [(pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames]


def make_scenes(path: Path, **options: Any) -> Path:
    return make_video(path, frames=80, picture=three_scenes, **options)


MAKERS: dict[str, Callable[[Path], object]] = {
    "v.mp4": lambda path: make_scenes(path, bframes=3),
    "late_start.ts": lambda path: make_scenes(path, bframes=2, pts=list(range(3000, 3080))),
    "one_group.mkv": lambda path: make_scenes(path, gop=250),
    "sequential.mp4": lambda path: make_scenes(path, codec="mpeg4", bframes=2),
    "without_times.h264": lambda path: make_scenes(path, format="h264", bframes=2),
    "ten_bit.mp4": lambda path: make_scenes(path, pix_fmt="yuv420p10le"),
    "variable_rate.mp4": lambda path: make_scenes(
        path, bframes=2, time_base=Fraction(1, 1000), pts=[33 * n + 7 * (n % 3) + 2000 * (n >= 40) for n in range(80)]
    ),
}


@needs_ffmpeg
@pytest.mark.parametrize("name", MAKERS)
def test_scenes_begin_where_they_were_made(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    MAKERS[name](path)
    samples, whole = found(path), presented_frames(path)
    assert [md5 for _, md5 in samples] == [whole[n][1] for n in CUTS]
    if name != "without_times.h264":
        assert [time for time, _ in samples] == [whole[n][0] for n in CUTS]


@needs_ffmpeg
def test_an_edit_list_hides_the_scene_before_it(tmp_path: Path) -> None:
    whole = make_scenes(tmp_path / "whole.mp4", gop=40, bframes=2)
    run_ffmpeg("-ss", "1", "-i", whole, "-c", "copy", tmp_path / "v.mp4")
    presented = presented_frames(tmp_path / "v.mp4")
    assert index_video(tmp_path / "v.mp4").discard.any()
    assert found(tmp_path / "v.mp4") == [presented[0], presented[CUTS[2] - 30]]


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_real_footage_is_cut_where_pyscenedetect_cuts_it(name: str) -> None:
    from scenedetect import AdaptiveDetector, detect

    theirs = detect(str(footage(name)), AdaptiveDetector(min_scene_len=0.6), start_in_scene=True)
    assert [float(time) for time, _ in found(footage(name))] == pytest.approx(
        [start.seconds for start, _ in theirs], abs=1e-6
    )


def test_a_scene_needs_a_time_not_a_number_of_frames(tmp_path: Path) -> None:
    """At 5 frames a second scenes of 1 s are 5 frames long, fewer than PySceneDetect's own 15."""

    def every_second(number: int, width: int, height: int) -> RGB:
        return three_scenes([0, 30, 60][number // 5 % 3] + number % 5, width, height)

    path = make_video(tmp_path / "v.mp4", frames=30, fps=5, picture=every_second)
    assert [time for time, _ in found(path)] == [0, 1, 2, 3, 4, 5]


def test_a_still_and_a_single_frame_are_one_scene(tmp_path: Path) -> None:
    still = make_video(tmp_path / "still.mp4", picture=lambda _, width, height: moving_picture(0, width, height))
    assert [time for time, _ in found(still)] == [0]
    assert len(found(make_video(tmp_path / "one.mp4", frames=1))) == 1


def test_the_report_counts_one_full_decode_and_says_why(tmp_path: Path) -> None:
    frames = SampledFrames(make_scenes(tmp_path / "v.mp4"), Scenes())
    assert len(list(frames)) == 3
    report = frames.report
    assert (report.mode, report.sampled, report.problem) == ("sequential", 3, None)
    assert 80 < report.decoded < 120, "and of the scenes' first frames, by a plan"
    assert "full decode" in report.reason


def test_damage_costs_no_scene_elsewhere(tmp_path: Path) -> None:
    path = make_scenes(tmp_path / "v.mp4", gop=12)
    index, data = index_video(path), bytearray(path.read_bytes())
    first, last = int(index.position[64]), int(index.position[70])
    data[first:last] = bytes(last - first)
    frames = SampledFrames(io.BytesIO(bytes(data)), Scenes())
    samples = [(pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames]
    assert samples[:3] == found(path)
    assert isinstance(frames.report.problem, DecodeError)


def test_frames_are_compared_at_one_size_whatever_the_stream_does() -> None:
    sizes = [(96, 64), (64, 96), (8000, 2), (1, 1), (320, 240)]
    frames = [
        (n, av.VideoFrame.from_ndarray(np.full((height, width, 3), 100, np.uint8), format="rgb24"))
        for n, (width, height) in enumerate(sizes)
    ]
    for order in (frames, frames[::-1], frames[2:]):
        assert list(scene_times(order, Fraction(1, 30))) == [order[0][0]]


def test_times_that_run_backwards_do_not_stop_it() -> None:
    frames = [(-n * 3000, av.VideoFrame.from_ndarray(three_scenes(n, 96, 64), format="rgb24")) for n in range(80)]
    assert len(list(scene_times(frames, Fraction(1, 90_000)))) >= 1


def test_no_frame_is_held_until_a_cut_is_known(tmp_path: Path) -> None:
    path = make_scenes(tmp_path / "v.mp4")
    alive = []

    def counted() -> Any:
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % 20 == 0:
                    alive.append(sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects()))
                yield frame.pts, frame

    assert len(list(scene_times(counted(), index_video(path).time_base))) == 3
    assert max(alive) - alive[0] <= 1


def test_without_its_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "v.mp4", frames=3)
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    with pytest.raises(SceneDetectionUnavailable, match=r"pip install 'video-assets\[scene\]'"):
        require_scene_detection()
    with pytest.raises(SceneDetectionUnavailable):
        SampledFrames(path, Scenes())
    assert len(list(SampledFrames(path, EVERY_FRAME))) == 3

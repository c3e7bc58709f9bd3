"""Samples as image files: numbered, timed, upright, and the same each time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from video_assets.video.decode import SampledFrames
from video_assets.video.extract import FrameExtraction
from video_assets.video.image import ImageOptions, decode_image, to_rgb
from video_assets.video.sampling import EverySeconds, Keyframes
from video_assets_tests.video.made_videos import made_video
from video_assets_tests.video.make_video import footage, make_video


def test_frames_carry_their_number_and_exact_time(videos: Path) -> None:
    frames = list(FrameExtraction(made_video("h264_late_start.mkv", videos), EverySeconds(Fraction(1, 2))))
    assert [frame.frame_idx for frame in frames] == [0, 1, 2, 3]
    assert [frame.pts * frame.time_base for frame in frames] == [100, 100.5, 101, 101.5]
    assert [frame.pts_s for frame in frames] == [0, 0.5, 1, 1.5]
    assert not any(frame.damaged for frame in frames)


def test_times_are_exact_where_microseconds_are_not(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.ts", frames=30, fps=Fraction(30000, 1001))
    second = list(FrameExtraction(path, EverySeconds.at_rate(1000)))[1]
    assert second.pts * second.time_base - Fraction(0) == Fraction(second.pts, 90000)
    assert second.pts_s == float(Fraction(3003, 90000))


def test_images_hold_the_pixels_of_their_frames() -> None:
    policy = EverySeconds(Fraction(2))
    frames = list(FrameExtraction(footage("bikes.mp4"), policy, ImageOptions(quality=95)))
    pixels = [to_rgb(frame) for _, frame in SampledFrames(footage("bikes.mp4"), policy)]
    assert len(frames) == len(pixels) == 5
    for frame, expected in zip(frames, pixels, strict=True):
        assert frame.image is not None
        assert (frame.image.width, frame.image.height) == (640, 272)
        assert np.abs(decode_image(frame.image.data).astype(int) - expected).mean() < 3
    lossless = list(FrameExtraction(footage("bikes.mp4"), policy, ImageOptions("png")))
    assert all((decode_image(frame.image.data) == p).all() for frame, p in zip(lossless, pixels, strict=True))


def test_a_turned_video_gives_upright_images(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=3, size=(96, 64), rotate=90)
    image = next(iter(FrameExtraction(path, Keyframes()))).image
    assert image is not None
    assert (image.width, image.height) == (64, 96)
    assert decode_image(image.data).shape == (96, 64, 3)


def test_the_same_video_gives_the_same_bytes(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", bframes=2)
    first, second = (list(FrameExtraction(path, EverySeconds(Fraction(1, 2)))) for _ in range(2))
    assert first == second
    assert len({frame.image for frame in first}) == 4


def test_the_container_is_closed_when_the_caller_stops_early(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4")
    with path.open("rb") as file:
        frames = iter(FrameExtraction(file, EverySeconds(Fraction(1, 10))))
        next(frames)
        del frames
        assert not file.closed
    extraction = FrameExtraction(path, EverySeconds(Fraction(1, 10)))
    with pytest.raises(RuntimeError):
        _ = extraction.report

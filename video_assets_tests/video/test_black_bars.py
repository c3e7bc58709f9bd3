"""Black bars: found where they are, to the pixel, and nowhere else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from video_assets.video.black_bars import find_picture
from video_assets.video.crop import Box
from video_assets.video.extract import FrameExtraction
from video_assets.video.image import ImageOptions, decode_image
from video_assets.video.index import index_video
from video_assets.video.sampling import EverySeconds
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg
from video_assets_tests.video.make_video import RGB, footage, make_video, moving_picture

SIZE = (192, 128)
Picture = Callable[[int, int, int], RGB]


def within(box: Box, content: Picture = moving_picture) -> Picture:
    """Pictures of black, but for the box."""

    def picture(index: int, width: int, height: int) -> RGB:
        rgb = np.zeros((height, width, 3), np.uint8)
        rgb[box.y : box.y + box.height, box.x : box.x + box.width] = content(index, box.width, box.height)
        return rgb

    return picture


def found(path: Path) -> Box | None:
    return find_picture(path, index_video(path))


@pytest.mark.parametrize(
    "box",
    [Box(0, 20, 192, 88), Box(36, 0, 120, 128), Box(24, 10, 144, 108), Box(0, 8, 192, 112), Box(64, 0, 64, 128)],
    ids=str,
)
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_what_is_within_the_bars_is_found(box: Box, codec: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", codec=codec, size=SIZE, picture=within(box), options={"crf": "18"})
    assert found(path) == box


def test_odd_bars_are_cut_to_even_pixels_of_the_picture(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", size=SIZE, picture=within(Box(0, 21, 192, 86)), options={"crf": "12"})
    assert found(path) == Box(0, 22, 192, 84)


def test_a_dark_beginning_cuts_nothing_of_the_picture(tmp_path: Path) -> None:
    box = Box(0, 20, 192, 88)

    def dark_for_two_seconds(index: int, width: int, height: int) -> RGB:
        rgb = moving_picture(index, width, height)
        if index < 20:
            rgb[:] = 0
        elif index < 30:
            rgb[: height // 3] = rgb[-height // 3 :] = 3
        return rgb

    path = make_video(tmp_path / "v.mp4", size=SIZE, fps=10, frames=50, picture=within(box, dark_for_two_seconds))
    assert found(path) == box


def test_one_dark_frame_is_no_bar(tmp_path: Path) -> None:
    def one_dark(index: int, width: int, height: int) -> RGB:
        rgb = moving_picture(index, width, height)
        return rgb // 40 if index == 0 else rgb

    assert found(make_video(tmp_path / "v.mp4", size=SIZE, picture=one_dark)) is None


def lit_below(index: int, width: int, height: int) -> RGB:
    """A night road: a sky of pure black over the half that the headlights reach."""
    rgb = moving_picture(index, width, height)
    rgb[: height // 2] = 0
    return rgb


def lamp(index: int, width: int, height: int) -> RGB:
    """Bars but for a lamp that shows once, and high."""
    rgb = within(Box(0, 40, width, height - 80))(index, width, height)
    if 30 <= index < 40:
        rgb[8:12, 90:94] = 230
    return rgb


def black(_index: int, width: int, height: int) -> RGB:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize("picture", [moving_picture, lit_below, black])
def test_no_bars_no_crop(picture: Picture, tmp_path: Path) -> None:
    assert found(make_video(tmp_path / "v.mp4", size=SIZE, picture=picture)) is None


def test_what_lights_up_in_one_frame_is_no_bar(tmp_path: Path) -> None:
    box = found(make_video(tmp_path / "v.mp4", size=SIZE, picture=lamp, fps=10))
    assert box is None


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"])
def test_real_footage_without_bars_is_left_whole(name: str) -> None:
    assert found(footage(name)) is None


@pytest.mark.parametrize("rotate", [90, 180, 270])
def test_bars_of_a_turned_video_are_found_as_displayed(rotate: int, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", size=SIZE, rotate=rotate, picture=within(Box(0, 20, 192, 88)))
    assert found(path) == (Box(20, 0, 88, 192) if rotate % 180 else Box(0, 20, 192, 88))


@needs_ffmpeg
@pytest.mark.parametrize("bars", ["pad=iw:ih+120:0:60", "pad=iw+96:ih:48:0", "pad=iw+60:ih+44:30:22"])
def test_ffmpegs_cropdetect_finds_the_same(bars: str, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    source = ["-i", str(footage("bikes.mp4")), "-t", "5", "-vf", f"{bars}", "-c:v", "libx264", "-preset", "veryfast"]
    subprocess.run(["ffmpeg", "-v", "error", *source, str(path)], check=True)
    command = [
        "ffmpeg",
        "-hide_banner",
        "-i",
        str(path),
        "-vf",
        "cropdetect=limit=24:round=2:reset=0",
        "-f",
        "null",
        "-",
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    width, height, x, y = (int(n) for n in re.findall(r"crop=(\d+):(\d+):(\d+):(\d+)", said)[-1])
    assert found(path) == Box(x, y, width, height)


def test_auto_cuts_every_frame_to_one_box_and_says_so(tmp_path: Path) -> None:
    box = Box(0, 20, 192, 88)
    path = make_video(tmp_path / "v.mp4", size=SIZE, picture=within(box), options={"crf": "12"})
    frames = list(FrameExtraction(path, EverySeconds.parse("0.5"), ImageOptions("png"), crop="auto"))
    assert [frame.crop for frame in frames] == [box] * 4
    for frame in frames:
        assert frame.image is not None
        pixels = decode_image(frame.image.data)
        assert pixels.shape == (88, 192, 3)
        assert (pixels.max(axis=(1, 2)) > 32).all(), "no black row is left"


def test_auto_without_bars_gives_what_no_crop_gives(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", size=SIZE)
    policy = EverySeconds.parse("0.5")
    assert list(FrameExtraction(path, policy, crop="auto")) == list(FrameExtraction(path, policy))

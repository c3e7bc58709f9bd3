"""What is cut out of frames: to the pixel, as displayed, for every format, and as FFmpeg's own crop does it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.video.crop import Box, cut, parse_crop
from video_assets.video.errors import CropError
from video_assets.video.extract import ExtractedFrame, FrameExtraction
from video_assets.video.image import ImageOptions, decode_image, encode_image, to_rgb
from video_assets.video.orientation import Orientation
from video_assets.video.quality import measure_quality
from video_assets.video.sampling import EverySeconds, Keyframes
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, pixel_md5, run_ffmpeg
from video_assets_tests.video.make_video import make_video, moving_picture
from video_assets_tests.video.test_frame_image import BT709, FULL, LIMITED, frame_of, mean_error, planes

DIVISORS = {
    "yuv420p": (2, 2),
    "yuvj420p": (2, 2),
    "yuv420p10le": (2, 2),
    "yuv422p": (2, 1),
    "yuv444p": (1, 1),
    "yuv410p": (4, 4),
}


@settings(deadline=None)
@given(data=st.data())
def test_the_box_of_the_stored_picture_is_the_box_as_displayed(data: st.DataObject) -> None:
    orientation = Orientation(*data.draw(st.tuples(st.booleans(), st.booleans(), st.booleans())))
    rows, columns = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    stored = np.arange(rows * columns).reshape(rows, columns)
    displayed = orientation.apply(stored)
    height, width = displayed.shape
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Box(x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    part = box.before(orientation, width, height)
    found = orientation.apply(stored[part.y : part.y + part.height, part.x : part.x + part.width])
    assert (found == displayed[box.y : box.y + box.height, box.x : box.x + box.width]).all()


@pytest.mark.parametrize("pix_fmt", DIVISORS)
@pytest.mark.parametrize("box", [Box(8, 4, 40, 24), Box(0, 0, 95, 63), Box(33, 8, 21, 20), Box(13, 7, 1, 1)], ids=str)
def test_a_cut_frame_has_the_pixels_of_the_whole(pix_fmt: str, box: Box) -> None:
    bits = 10 if pix_fmt.endswith("10le") else 8
    frame = frame_of(planes(96, 64, DIVISORS[pix_fmt]), pix_fmt, BT709, FULL if "j" in pix_fmt else LIMITED, bits)
    part, whole = to_rgb(cut(frame, box)), to_rgb(frame)
    expected = whole[box.y : box.y + box.height, box.x : box.x + box.width]
    assert part.shape == expected.shape
    assert np.abs(part.astype(int) - expected).max() <= 12, "chroma at the edge has one neighbour less"
    assert mean_error(part, expected) < 0.7


def test_a_cut_shares_the_pixels_of_its_frame() -> None:
    frame = frame_of(planes(96, 64), "yuv420p", BT709, LIMITED)
    part = cut(frame, Box(16, 8, 32, 32))
    assert part.format.name == "yuv420p"
    assert (part.colorspace, part.color_range) == (frame.colorspace, frame.color_range)
    assert [b.buffer_ptr - a.buffer_ptr for a, b in zip(frame.planes, part.planes, strict=True)] == [
        8 * frame.planes[0].line_size + 16,
        4 * frame.planes[1].line_size + 8,
        4 * frame.planes[2].line_size + 8,
    ]


def test_an_odd_box_has_exactly_the_pixels_of_the_whole_frame_as_an_image() -> None:
    frame = frame_of(planes(96, 64), "yuv420p", BT709, LIMITED)
    for box in (Box(3, 0, 20, 20), Box(0, 3, 21, 20), Box(0, 0, 95, 63), Box(41, 17, 55, 47)):
        expected = to_rgb(frame)[box.y : box.y + box.height, box.x : box.x + box.width]
        png = encode_image(cut(frame, box), ImageOptions("png"))
        assert (decode_image(png.data) == expected).all()


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("box", [Box(0, 12, 96, 40), Box(20, 2, 50, 34)], ids=str)
def test_the_planes_are_those_of_ffmpegs_crop(codec: str, box: Box, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", codec=codec, frames=1)
    crop = f"crop={box.width}:{box.height}:{box.x}:{box.y}:exact=1"
    said = run_ffmpeg("-i", path, "-vf", crop, "-f", "framemd5", "-flags", "+bitexact", "-").decode()
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert pixel_md5(cut(frame, box)) == said.splitlines()[-1].split(",")[-1].strip()


@needs_ffmpeg
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("box", ["6,10,32,20", "7,11,33,21"])
def test_a_box_is_cut_as_ffmpeg_shows_the_picture(rotate: int, box: str, tmp_path: Path) -> None:
    def blocks(index: int, width: int, height: int) -> np.ndarray:
        grays = np.random.default_rng(index).integers(0, 256, (height // 4, width // 4, 1), np.uint8)
        return np.repeat(np.repeat(np.repeat(grays, 4, axis=0), 4, axis=1), 3, axis=2)

    path = make_video(tmp_path / "v.mp4", frames=2, rotate=rotate, picture=blocks)
    frame = next(iter(FrameExtraction(path, Keyframes(), ImageOptions("png"), crop=parse_crop(box))))
    x, y, width, height = (int(part) for part in box.split(","))
    filters = f"scale=flags=accurate_rnd+full_chroma_int+bicubic,format=rgb24,crop={width}:{height}:{x}:{y}"
    data = run_ffmpeg("-i", path, "-frames:v", "1", "-vf", filters, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    shown = np.frombuffer(data, np.uint8).reshape(height, width, 3)
    assert mean_error(image_of(frame), shown) < 3
    assert mean_error(image_of(frame)[:, 1:], shown[:, :-1]) > 10, "the test would not notice one pixel"


def image_of(frame: ExtractedFrame) -> np.ndarray:
    assert frame.image is not None
    pixels = decode_image(frame.image.data)
    assert (frame.image.height, frame.image.width) == pixels.shape[:2]
    return pixels


def test_the_crop_comes_before_the_longest_side_and_the_figures(tmp_path: Path) -> None:
    def beside_noise(index: int, width: int, height: int) -> np.ndarray:
        rgb = moving_picture(index, width, height)
        rgb[:, : width // 2] = 200
        return rgb

    path = make_video(tmp_path / "v.mp4", frames=2, size=(320, 160), picture=beside_noise)
    options = ImageOptions("png", longest_side=60)
    (frame,) = FrameExtraction(path, Keyframes(), options, crop=Box(10, 10, 120, 90))
    assert frame.crop == Box(10, 10, 120, 90)
    assert image_of(frame).shape == (45, 60, 3)
    assert np.abs(image_of(frame).astype(int) - 200).max() <= 8
    assert frame.quality.brightness == pytest.approx(200, abs=2)
    assert frame.quality.sharpness < 5
    (whole,) = FrameExtraction(path, Keyframes(), options)
    assert whole.crop is None
    assert whole.quality.sharpness > 40


def test_the_figures_of_a_cut_are_those_of_a_picture_of_its_own() -> None:
    frame = frame_of(planes(400, 300), "yuv420p", BT709, LIMITED)
    part = cut(frame, Box(100, 50, 200, 150))
    own = av.VideoFrame.from_ndarray(part.to_ndarray(), format="yuv420p")
    own.colorspace, own.color_range = BT709, LIMITED
    assert measure_quality(part) == measure_quality(own)


@pytest.mark.parametrize("box", [Box(90, 0, 10, 10), Box(0, 0, 97, 64), Box(0, 60, 5, 5), Box(99999, 0, 1, 1)], ids=str)
def test_a_box_outside_the_picture_names_the_numbers_and_the_way_out(box: Box, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=2)
    with pytest.raises(CropError, match=rf"cam/1: .*{box}.*96 × 64.*VIDEO_ASSETS_FRAMES_CROP") as raised:
        list(FrameExtraction(path, Keyframes(), crop=box, label="cam/1"))
    assert (raised.value.stage, raised.value.retryable) == ("crop", False)


def test_a_box_is_of_the_picture_as_displayed(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=2, rotate=90)
    (frame,) = FrameExtraction(path, Keyframes(), crop=Box(0, 64, 64, 32))
    assert image_of(frame).shape == (32, 64, 3)
    with pytest.raises(CropError, match="64 × 96"):
        list(FrameExtraction(path, Keyframes(), crop=Box(64, 0, 32, 64)))


def test_a_picture_that_shrinks_below_the_box_is_an_error(tmp_path: Path) -> None:
    """The size of decoded frames may change within a video; FFmpeg's filter would read beyond the smaller ones."""
    frames = [frame_of(planes(*size), "yuv420p", BT709, LIMITED) for size in ((96, 64), (48, 32))]
    assert cut(frames[0], Box(0, 0, 90, 60)).width == 90
    with pytest.raises(CropError, match="48 × 32"):
        cut(frames[1], Box(0, 0, 90, 60))


def test_every_frame_is_cut_alike(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=30, gop=10)
    frames = list(FrameExtraction(path, EverySeconds(Fraction(1, 10)), ImageOptions("png"), crop=Box(4, 2, 50, 30)))
    wholes = list(FrameExtraction(path, EverySeconds(Fraction(1, 10)), ImageOptions("png")))
    assert len(frames) == 10
    for part, whole in zip(frames, wholes, strict=True):
        assert (part.frame_idx, part.pts, part.crop) == (whole.frame_idx, whole.pts, Box(4, 2, 50, 30))
        assert mean_error(image_of(part)[2:-2, 2:-2], image_of(whole)[4:30, 6:52]) < 0.01


def test_a_crop_as_settings_write_it() -> None:
    assert parse_crop("auto") == "auto"
    assert parse_crop("0,60,1280,600") == Box(0, 60, 1280, 600)
    assert str(parse_crop("0,60,1280,600")) == "0,60,1280,600"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AUTO",
        "1,2,3",
        "1,2,3,4,5",
        "-1,0,5,5",
        "0,0,0,5",
        "0,0,5,0",
        "0, 0,5,5",
        "a,b,c,d",
        "1e3,0,5,5",
        "٣,0,5,5",
        "0,0,999999,5",
    ],
)
def test_what_is_no_crop_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_crop(text)

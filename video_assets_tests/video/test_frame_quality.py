"""Sharpness, brightness and perceptual hash, against their definitions and against what they are for."""

from __future__ import annotations

import io
import itertools
import math
import statistics

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from video_assets.video.decode import SampledFrames
from video_assets.video.errors import EncodeError
from video_assets.video.image import to_rgb
from video_assets.video.orientation import Orientation
from video_assets.video.quality import FrameQuality, hamming_distance, measure_quality
from video_assets.video.sampling import EverySeconds
from video_assets_tests.video.make_video import footage, moving_picture
from video_assets_tests.video.test_frame_image import BT709, FULL, LIMITED, frame_of

ORIENTATIONS = [Orientation(t, h, v) for t in (False, True) for h in (False, True) for v in (False, True)]


def of_gray(pixels: NDArray[np.uint8], orientation: Orientation | None = None) -> FrameQuality:
    return measure_quality(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="gray"), orientation)


def of_rgb(picture: Image.Image) -> FrameQuality:
    return measure_quality(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24"))


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Frames of three real videos, some seconds apart."""
    frames = []
    for name in ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"):
        frames += [to_rgb(frame) for _, frame in SampledFrames(footage(name), EverySeconds.parse("2.5"))]
    return [Image.fromarray(rgb) for rgb in frames]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 24), height=st.integers(1, 24))
def test_sharpness_is_the_variance_of_the_laplacian(seed: int, width: int, height: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    p = pixels.astype(int).tolist()
    laplacian = [
        p[y - 1][x] + p[y + 1][x] + p[y][x - 1] + p[y][x + 1] - 4 * p[y][x]
        for y in range(1, height - 1)
        for x in range(1, width - 1)
    ]
    expected = statistics.pvariance(laplacian) if laplacian else 0
    assert of_gray(pixels).sharpness == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_hash_is_the_signs_of_the_low_waves_about_their_median(seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
    wave = [[math.cos(math.pi * k * (2 * n + 1) / 64) for n in range(32)] for k in range(8)]
    p = pixels.astype(float).tolist()
    waves = [
        sum(p[y][x] * wave[v][y] * wave[u][x] for y in range(32) for x in range(32)) for v in range(8) for u in range(8)
    ]
    middle = statistics.median(waves)
    assert f"{of_gray(pixels).phash:064b}" == "".join("1" if value > middle else "0" for value in waves)


def test_brightness_is_full_range_whatever_the_range_of_the_source() -> None:
    for coded, color_range, shown in (
        (16, LIMITED, 0),
        (235, LIMITED, 255),
        (126, LIMITED, 128),
        (0, FULL, 0),
        (255, FULL, 255),
        (128, FULL, 128),
    ):
        parts = [np.full((64, 64), coded), np.full((32, 32), 90.0), np.full((32, 32), 160.0)]
        for pix_fmt, bits in (("yuv420p", 8), ("yuv420p10le", 10)):
            quality = measure_quality(frame_of(parts, pix_fmt, BT709, color_range, bits))
            assert quality.brightness == pytest.approx(shown, abs=1), (pix_fmt, coded)
            assert quality.sharpness == 0, (pix_fmt, coded)


@pytest.mark.parametrize(("color_range", "low", "high"), [(LIMITED, 16, 235), (FULL, 0, 255)])
def test_a_ramp_from_black_to_white_is_half_bright(color_range: int, low: int, high: int) -> None:
    ramp = np.tile(np.linspace(low, high, 512), (288, 1))
    parts = [ramp, np.full((144, 256), 128.0), np.full((144, 256), 128.0)]
    assert measure_quality(frame_of(parts, "yuv420p", BT709, color_range)).brightness == pytest.approx(127.5, abs=1)


def test_a_flat_picture_has_no_sharpness_and_one_hash() -> None:
    found = {of_gray(np.full((72, 128), value, np.uint8)) for value in (1, 77, 255)}
    assert {(quality.sharpness, quality.phash) for quality in found} == {(0, 1 << 63)}


def test_blurring_lowers_sharpness(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        width = picture.width / 256
        blurred = [picture.filter(ImageFilter.GaussianBlur(radius * width)) for radius in (0, 0.5, 1, 2, 4)]
        figures = [of_rgb(image).sharpness for image in blurred]
        assert all(later < earlier for earlier, later in itertools.pairwise(figures)), figures
        assert figures[-1] < figures[0] / 20


def test_figures_do_not_depend_on_the_resolution(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        if picture.width < 600:
            continue
        whole = of_rgb(picture)
        twice = of_rgb(picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST))
        assert twice.sharpness == pytest.approx(whole.sharpness, rel=0.02)
        assert twice.brightness == pytest.approx(whole.brightness, abs=0.5)


def test_a_hash_outlives_compression_and_scaling(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        original, out = of_rgb(picture).phash, io.BytesIO()
        picture.save(out, "JPEG", quality=40)
        assert hamming_distance(original, of_rgb(Image.open(out)).phash) <= 4
        for size in ((picture.width * 2 // 3, picture.height * 2 // 3), (320, 180)):
            smaller = picture.resize(size, Image.Resampling.LANCZOS)
            assert hamming_distance(original, of_rgb(smaller).phash) <= 6


def test_hashes_of_different_scenes_are_far_apart(pictures: list[Image.Image]) -> None:
    first = [of_rgb(picture).phash for picture in (pictures[0], pictures[-1])]
    scene = [of_rgb(Image.fromarray(moving_picture(n, 256, 144))).phash for n in (0, 40)]
    for left in first:
        for right in scene:
            assert hamming_distance(left, right) >= 20
    assert hamming_distance(*first) >= 20


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_what_is_measured_is_the_upright_picture(orientation: Orientation) -> None:
    stored = np.ascontiguousarray(moving_picture(3, 128, 96)[..., 1])
    turned, upright = of_gray(stored, orientation), of_gray(orientation.apply(stored))
    assert turned.sharpness == upright.sharpness
    assert turned.brightness == upright.brightness
    assert hamming_distance(turned.phash, upright.phash) <= 4, "but for rounding"
    if orientation != Orientation():
        assert hamming_distance(turned.phash, of_gray(stored).phash) >= 10, "the test would not notice"


def test_a_wide_turned_picture_is_reduced_as_displayed() -> None:
    stored = np.ascontiguousarray(moving_picture(3, 1024, 512)[..., 0])
    turn = Orientation(transposed=True, hflip=True)
    turned, upright = of_gray(stored, turn), of_gray(turn.apply(stored))
    assert turned.sharpness == pytest.approx(upright.sharpness, rel=0.01)
    assert turned.sharpness != pytest.approx(of_gray(stored).sharpness, rel=0.1), "512 pixels across, not 1024"


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 5000), (5000, 1), (300, 3), (16, 4000)])
def test_odd_shapes_have_figures(size: tuple[int, int]) -> None:
    quality = of_gray(np.random.default_rng(0).integers(0, 256, size[::-1], np.uint8))
    assert quality.sharpness >= 0
    assert 0 <= quality.brightness <= 255
    assert 0 <= quality.phash < 2**64


def test_a_pixel_format_that_cannot_be_measured_is_named() -> None:
    with pytest.raises(EncodeError, match=r"cam/1: y210be frames cannot be converted to gray"):
        measure_quality(av.VideoFrame(16, 16, "y210be"), label="cam/1")

"""Colours, shape and bytes of encoded frames, against a conversion in floating point and FFmpeg's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from video_assets.video.errors import EncodeError, UnreadableImage
from video_assets.video.extract import FrameExtraction
from video_assets.video.image import ImageOptions, decode_image, encode_image, to_rgb
from video_assets.video.index import index_video
from video_assets.video.orientation import Orientation
from video_assets.video.sampling import Keyframes
from video_assets_tests.video.ffmpeg_oracle import displayed_rgb, jpeg_planes, needs_ffmpeg
from video_assets_tests.video.make_video import RGB, make_video

BT709, UNSPECIFIED, FCC, BT601, SMPTE240M, YCGCO, BT2020 = 1, 2, 4, 6, 7, 8, 9
LIMITED, FULL = 1, 2
WEIGHTS = {BT709: (0.2126, 0.0722), BT601: (0.299, 0.114), BT2020: (0.2627, 0.0593)}
CLOSE = 1.0
"""Mean error in 8-bit steps that rounding and chroma interpolation explain. A wrong matrix or range gives > 4."""


def planes(width: int, height: int, divisors: tuple[int, int] = (2, 2)) -> list[NDArray[np.float64]]:
    """Smooth Y, Cb, Cr in 0…255 of legal colours, chroma at its own resolution."""

    def wave(columns: int, rows: int, low: float, high: float, phase: float) -> NDArray[np.float64]:
        x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
        return low + (high - low) * (0.5 + 0.5 * np.sin(6 * x + phase) * np.cos(5 * y + 2 * phase))

    small = (-(-width // divisors[0]), -(-height // divisors[1]))
    return [wave(width, height, 80, 170, 0.3), wave(*small, 75, 175, 1), wave(*small, 80, 180, 2)]


def frame_of(
    parts: list[NDArray[np.float64]], pix_fmt: str, colorspace: int, color_range: int, bits: int = 8
) -> av.VideoFrame:
    frame = av.VideoFrame(parts[0].shape[1], parts[0].shape[0], pix_fmt)
    dtype = np.uint8 if bits == 8 else np.uint16
    for plane, part in zip(frame.planes, parts, strict=False):
        rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype().itemsize)
        rows[:, : part.shape[1]] = np.round(part * 2 ** (bits - 8))
    frame.colorspace, frame.color_range = colorspace, color_range
    return frame


def expected_rgb(parts: list[NDArray[np.float64]], colorspace: int, color_range: int) -> NDArray[np.float64]:
    """R'G'B' by the definition of the matrix (ITU-T H.273), chroma interpolated linearly."""
    height, width = parts[0].shape
    luma, cb, cr = (np.round(part) for part in parts)
    cb, cr = (
        np.asarray(Image.fromarray(c.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
        for c in (cb, cr)
    )
    offset, luma_scale, chroma_scale = (16, 219, 224) if color_range == LIMITED else (0, 255, 255)
    y, pb, pr = (luma - offset) / luma_scale, (cb - 128) / chroma_scale, (cr - 128) / chroma_scale
    kr, kb = WEIGHTS[colorspace]
    red, blue = y + 2 * (1 - kr) * pr, y + 2 * (1 - kb) * pb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], -1) * 255, 0, 255)


def mean_error(left: NDArray[np.generic], right: NDArray[np.generic]) -> float:
    return float(np.abs(left.astype(np.float64) - right.astype(np.float64)).mean())


@pytest.mark.parametrize("colorspace", [BT709, BT601, BT2020])
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
def test_matrix_and_range_are_undone(colorspace: int, color_range: int) -> None:
    parts = planes(320, 180)
    rgb = to_rgb(frame_of(parts, "yuv420p", colorspace, color_range))
    assert mean_error(rgb, expected_rgb(parts, colorspace, color_range)) < CLOSE
    for matrix in WEIGHTS:
        for kind in (LIMITED, FULL):
            if (matrix, kind) != (colorspace, color_range):
                assert mean_error(rgb, expected_rgb(parts, matrix, kind)) > CLOSE, "the test would not notice"


@pytest.mark.parametrize(
    ("pix_fmt", "divisors", "bits"),
    [
        ("yuv420p", (2, 2), 8),
        ("yuv422p", (2, 1), 8),
        ("yuv444p", (1, 1), 8),
        ("yuv420p10le", (2, 2), 10),
        ("yuv422p10le", (2, 1), 10),
        ("yuv420p12le", (2, 2), 12),
    ],
)
@pytest.mark.parametrize("size", [(160, 90), (161, 91)])
def test_pixel_formats_and_odd_sizes(pix_fmt: str, divisors: tuple[int, int], bits: int, size: tuple[int, int]) -> None:
    parts = planes(*size, divisors)
    image = encode_image(frame_of(parts, pix_fmt, BT709, LIMITED, bits), ImageOptions(quality=98))
    assert (image.width, image.height) == size
    assert mean_error(decode_image(image.data), expected_rgb(parts, BT709, LIMITED)) < CLOSE + 0.5


def test_a_jpeg_keeps_full_range_colours() -> None:
    """`yuvj420p`, BT.601: what a JPEG is; and neutral, black and white must stay so."""
    for value in (0, 64, 128, 255):
        parts = [np.full((32, 32), value), np.full((16, 16), 128.0), np.full((16, 16), 128.0)]
        pixels = decode_image(encode_image(frame_of(parts, "yuvj420p", UNSPECIFIED, 0)).data)
        assert np.abs(pixels.astype(int) - value).max() <= 1


def test_limited_black_and_white_become_black_and_white() -> None:
    for coded, shown in ((16, 0), (235, 255), (126, 128)):
        parts = [np.full((32, 32), coded), np.full((16, 16), 128.0), np.full((16, 16), 128.0)]
        pixels = decode_image(encode_image(frame_of(parts, "yuv420p", BT709, LIMITED)).data)
        assert np.abs(pixels.astype(int) - shown).max() <= 1


def test_gray_frames() -> None:
    part = planes(64, 48)[0]
    frame = frame_of([part], "gray", UNSPECIFIED, 0)
    assert mean_error(decode_image(encode_image(frame).data)[..., 1], np.round(part)) < CLOSE


@pytest.mark.parametrize(
    ("size", "colorspace"), [((640, 480), BT601), ((720, 576), BT601), ((1280, 544), BT709), ((960, 720), BT709)]
)
def test_an_undeclared_matrix_follows_the_size(size: tuple[int, int], colorspace: int) -> None:
    parts = planes(*size)
    rgb = to_rgb(frame_of(parts, "yuv420p", UNSPECIFIED, 0))
    assert mean_error(rgb, expected_rgb(parts, colorspace, LIMITED)) < CLOSE


def test_a_colour_system_that_cannot_be_converted_is_an_error() -> None:
    with pytest.raises(EncodeError, match=r"cam/1\.mp4.*colour system"):
        encode_image(frame_of(planes(32, 32), "yuv420p", YCGCO, LIMITED), label="cam/1.mp4")


def quadrants(_index: int, width: int, height: int) -> RGB:
    """Four flat colours with a thin mark, so that every turn and mirror looks different."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (200, 40, 40)
    rgb[: height // 2, width // 2 :] = (40, 180, 60)
    rgb[height // 2 :, : width // 2] = (50, 60, 200)
    rgb[height // 2 :, width // 2 :] = (210, 200, 60)
    return rgb


def gradient(_index: int, width: int, height: int) -> RGB:
    """Colours without edges, where every way to interpolate chroma agrees."""
    x, y = np.meshgrid(np.linspace(40, 215, width), np.linspace(40, 215, height))
    return np.stack([x, y, 255 - (x + y) / 2], -1).astype(np.uint8)


def _colours(context_of: tuple[int, int]) -> Callable[[av.VideoStream], None]:
    def setup(stream: av.VideoStream) -> None:
        stream.codec_context.colorspace, stream.codec_context.color_range = context_of

    return setup


@needs_ffmpeg
@pytest.mark.parametrize(
    ("rotate", "hflip", "vflip"),
    [(r, h, v) for r in (0, 90, 180, 270) for h, v in ((False, False), (True, False))] + [(0, False, True)],
)
def test_turned_and_mirrored_as_ffmpeg_shows_it(rotate: int, hflip: bool, vflip: bool, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=1, picture=quadrants, rotate=rotate, hflip=hflip, vflip=vflip)
    index = index_video(path)
    with av.open(str(path)) as container:
        image = encode_image(next(container.decode(video=0)), ImageOptions("png"), index.orientation)
    assert (image.width, image.height) == (index.width, index.height)
    assert mean_error(decode_image(image.data), displayed_rgb(path, (image.width, image.height))) < 2


@needs_ffmpeg
@pytest.mark.parametrize("colours", [(BT709, LIMITED), (BT601, LIMITED), (BT601, FULL)])
def test_colours_agree_with_ffmpeg(colours: tuple[int, int], tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=1, picture=gradient, setup=_colours(colours))
    options = f"in_color_matrix={'bt709' if colours[0] == BT709 else 'bt601'}"
    options += f":in_range={'tv' if colours[1] == LIMITED else 'pc'}:out_range=pc"
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert mean_error(to_rgb(frame), displayed_rgb(path, (96, 64), options)) < CLOSE


def ycbcr_of(jpeg: bytes) -> NDArray[np.uint8]:
    """What a JPEG holds, before anything makes RGB of it."""
    image = Image.open(io.BytesIO(jpeg))
    image.draft("YCbCr", image.size)
    return np.asarray(image)


FFMPEG_MATRIX = {BT709: "bt709", FCC: "fcc", BT601: "bt601", SMPTE240M: "smpte240m", BT2020: "bt2020"}


@needs_ffmpeg
@pytest.mark.parametrize(
    ("matrix", "color_range", "pix_fmt"),
    [(matrix, kind, "yuv420p") for matrix in FFMPEG_MATRIX for kind in (LIMITED, FULL)]
    + [(BT709, LIMITED, "yuv422p"), (BT709, FULL, "yuv444p"), (BT2020, LIMITED, "yuv420p10le")],
)
def test_a_jpeg_holds_what_ffmpeg_makes_of_the_frame(
    matrix: int, color_range: int, pix_fmt: str, tmp_path: Path
) -> None:
    """On average within 1.5 levels of FFmpeg's own full-range BT.601, in luma and in both chroma planes."""
    colours = _colours((matrix, color_range))
    path = make_video(tmp_path / "v.mp4", frames=1, picture=gradient, pix_fmt=pix_fmt, setup=colours)
    frame = next(iter(FrameExtraction(path, Keyframes())))
    said = f"in_color_matrix={FFMPEG_MATRIX[matrix]}:in_range={'tv' if color_range == LIMITED else 'pc'}"
    expected = jpeg_planes(path, (96, 64), said)
    assert frame.image is not None
    for plane in range(3):
        assert mean_error(ycbcr_of(frame.image.data)[..., plane], expected[..., plane]) <= 1.5


@pytest.mark.parametrize(
    ("size", "longest", "result"),
    [((160, 90), 80, (80, 45)), ((90, 160), 80, (45, 80)), ((160, 90), 500, (160, 90)), ((400, 2), 10, (10, 1))],
)
def test_longest_side(size: tuple[int, int], longest: int, result: tuple[int, int]) -> None:
    frame = frame_of(planes(*size), "yuv420p", BT709, LIMITED)
    image = encode_image(frame, ImageOptions(longest_side=longest))
    assert (image.width, image.height) == result
    assert decode_image(image.data).shape == (result[1], result[0], 3)


def test_a_reduced_picture_keeps_its_colours() -> None:
    parts = planes(320, 180)
    small = to_rgb(frame_of(parts, "yuv420p", BT709, LIMITED), 80)
    whole = expected_rgb(parts, BT709, LIMITED).reshape(45, 4, 80, 4, 3).mean(axis=(1, 3))
    assert mean_error(small, whole) < CLOSE


def test_the_same_frame_gives_the_same_bytes() -> None:
    frame = frame_of(planes(160, 90), "yuv420p", BT709, LIMITED)
    for options in (ImageOptions(), ImageOptions("png")):
        assert encode_image(frame, options).data == encode_image(frame, options).data
    assert (frame.colorspace, frame.color_range) == (BT709, LIMITED)


def test_png_keeps_every_pixel() -> None:
    frame = frame_of(planes(97, 65, (1, 1)), "yuv444p", BT601, FULL)
    assert (decode_image(encode_image(frame, ImageOptions("png")).data) == to_rgb(frame)).all()


def test_quality_and_chroma_resolution() -> None:
    def subsampling(pix_fmt: str, divisors: tuple[int, int]) -> list[tuple[int, int, int, int]]:
        data = encode_image(frame_of(planes(64, 64, divisors), pix_fmt, BT709, LIMITED)).data
        return Image.open(io.BytesIO(data)).layer  # type: ignore[attr-defined, no-any-return]

    assert subsampling("yuv420p", (2, 2))[0][1:3] == (2, 2)
    assert subsampling("yuv422p", (2, 1))[0][1:3] == (2, 1)
    assert subsampling("yuv444p", (1, 1))[0][1:3] == (1, 1)


@pytest.mark.parametrize("wrong", [{"format": "webp"}, {"quality": 0}, {"quality": 101}, {"longest_side": 0}])
def test_senseless_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ImageOptions(**wrong)  # type: ignore[arg-type]


def test_pictures_that_are_none_are_refused() -> None:
    good = encode_image(frame_of(planes(64, 64), "yuv420p", BT709, LIMITED)).data
    for data in (b"", b"no picture", good[:100], good[: len(good) // 2]):
        with pytest.raises(UnreadableImage):
            decode_image(data)


def test_an_exif_orientation_is_applied() -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(out, "JPEG", exif=exif)
    assert decode_image(out.getvalue()).shape == (40, 20, 3)


def test_nothing_is_turned_without_an_orientation() -> None:
    frame = frame_of(planes(64, 32), "yuv420p", BT709, LIMITED)
    assert encode_image(frame).data == encode_image(frame, orientation=Orientation()).data


def test_bug_damaged_exif_was_a_traceback() -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10), (200, 10, 10)).save(out, "JPEG", exif=exif)
    assert decode_image(out.getvalue()).shape == (20, 10, 3)
    data = bytearray(out.getvalue())
    for position in range(20, 60):
        damaged = bytes(data[:position]) + b"\xff" + bytes(data[position + 1 :])
        try:
            decode_image(damaged)
        except UnreadableImage:
            continue

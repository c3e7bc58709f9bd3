"""YCbCr to what a JPEG means, against the definition in floating point and FFmpeg's own conversion."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from video_assets.video.colours import BT601, BT709, BT2020, FCC, FULL, LIMITED, LUMA_WEIGHTS, SMPTE240M
from video_assets.video.image import ImageOptions, decode_image, encode_image
from video_assets.video.jpeg_planes import jpeg_planes
from video_assets.video.orientation import Orientation
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg

FORMATS = {
    "yuv420p": (2, 2, 8),
    "yuvj420p": (2, 2, 8),
    "yuv422p": (1, 2, 8),
    "yuv444p": (1, 1, 8),
    "yuv420p10le": (2, 2, 10),
    "yuv422p10le": (1, 2, 10),
    "yuv444p12le": (1, 1, 12),
}
DECLARED = {BT709: 1, FCC: 4, BT601: 6, SMPTE240M: 7, BT2020: 9}


def random_frame(pix_fmt: str, size: tuple[int, int], matrix: int, color_range: int) -> av.VideoFrame:
    """Any numbers at all, illegal colours too."""
    bits = FORMATS[pix_fmt][2]
    frame = av.VideoFrame(*size, pix_fmt)
    random = np.random.default_rng(7)
    for plane in frame.planes:
        dtype = np.uint8 if bits == 8 else np.uint16
        rows = np.frombuffer(plane, dtype)
        rows[:] = random.integers(0, 2**bits, rows.shape)
    frame.colorspace, frame.color_range = DECLARED[matrix], color_range
    return frame


def coded(frame: av.VideoFrame) -> list[NDArray[np.float64]]:
    down, across, bits = FORMATS[frame.format.name]
    parts = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16)
        shown = rows.reshape(plane.height, -1)[:, : plane.width].astype(np.float64)
        parts.append(shown)
    parts[1:] = [part.repeat(down, 0).repeat(across, 1)[: frame.height, : frame.width] for part in parts[1:]]
    return parts


def by_definition(frame: av.VideoFrame, matrix: int, color_range: int) -> list[NDArray[np.float64]]:
    """ITU-T H.273: coded numbers → R'G'B' (not clipped) → full-range BT.601."""
    bits = FORMATS[frame.format.name][2]
    y, cb, cr = coded(frame)
    if color_range == FULL:
        top = 2**bits - 1
        y, cb, cr = y / top, (cb - 2 ** (bits - 1)) / top, (cr - 2 ** (bits - 1)) / top
    else:
        unit = 2 ** (bits - 8)
        y, cb, cr = (y / unit - 16) / 219, (cb / unit - 128) / 224, (cr / unit - 128) / 224
    kr, kb = LUMA_WEIGHTS[matrix]
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    parts = (luma * 255, (blue - luma) / 1.772 * 255 + 128, (red - luma) / 1.402 * 255 + 128)
    return [np.clip(part, 0, 255) for part in parts]


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("matrix", DECLARED)
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
def test_every_sample_is_rounded_once(pix_fmt: str, matrix: int, color_range: int) -> None:
    """Also beyond one block of rows, and at odd sizes."""
    for size in ((64, 300), (33, 291)):
        frame = random_frame(pix_fmt, size, matrix, color_range)
        planes = jpeg_planes(frame)
        assert planes is not None
        down, across, _ = FORMATS[pix_fmt]
        expected = by_definition(frame, matrix, color_range)
        expected[1:] = [part[::down, ::across] for part in expected[1:]]
        for made, wanted in zip(planes, expected, strict=True):
            assert made.shape == wanted.shape
            assert np.abs(made - wanted).max() <= 0.51


def test_full_range_bt601_is_left_as_it_is() -> None:
    frame = random_frame("yuvj420p", (64, 48), BT601, FULL)
    planes = jpeg_planes(frame)
    assert planes is not None
    assert np.array_equal(planes.luma, coded(frame)[0])


@pytest.mark.parametrize("pix_fmt", ["rgb24", "gray", "nv12", "gbrp"])
def test_what_is_no_planar_ycbcr_goes_another_way(pix_fmt: str) -> None:
    assert jpeg_planes(av.VideoFrame(32, 32, pix_fmt)) is None


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("size", [(96, 64), (97, 65)])
@pytest.mark.parametrize(
    "orientation", [Orientation(t, h, v) for t in (False, True) for h in (False, True) for v in (False, True)]
)
def test_planes_are_turned_as_pixels_are(pix_fmt: str, size: tuple[int, int], orientation: Orientation) -> None:
    y, x = np.mgrid[: size[1], : size[0]]
    rgb = np.stack([x * 2, y * 3, 255 - x - y], -1).clip(0, 255).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pix_fmt)
    upright = decode_image(encode_image(frame, ImageOptions(quality=98)).data)
    turned = decode_image(encode_image(frame, ImageOptions(quality=98), orientation).data)
    difference = np.abs(turned.astype(int) - orientation.apply(upright).astype(int))
    assert difference.mean() < 2


@needs_ffmpeg
@pytest.mark.parametrize("matrix", [BT709, BT601, BT2020])
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le"])
def test_agrees_with_ffmpegs_own_conversion(pix_fmt: str, matrix: int, color_range: int, tmp_path: Path) -> None:
    """Mean absolute difference at most 1.5 levels. Legal colours: FFmpeg clips others elsewhere."""
    width, height = 320, 180
    down, across, bits = FORMATS[pix_fmt]
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, low, high in zip(frame.planes, (80, 90, 90), (170, 165, 165), strict=True):
        rows = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16).reshape(plane.height, -1)
        y, x = np.mgrid[: plane.height, : plane.width]
        wave = low + (high - low) * (0.5 + 0.5 * np.sin(6 * x / plane.width) * np.cos(5 * y / plane.height))
        rows[:, : plane.width] = np.round(wave * 2 ** (bits - 8))
    frame.colorspace, frame.color_range = DECLARED[matrix], color_range
    planes = jpeg_planes(frame)
    assert planes is not None
    raw = tmp_path / "frame.raw"
    raw.write_bytes(
        b"".join(
            np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width * (1 if bits == 8 else 2)].tobytes()
            for p in frame.planes
        )
    )
    chroma = {(2, 2): "420", (1, 2): "422"}[(down, across)]
    name = {BT709: "bt709", BT601: "bt601", BT2020: "bt2020"}[matrix]
    kind = "tv" if color_range == LIMITED else "pc"
    scale = f"scale=in_color_matrix={name}:in_range={kind}:out_color_matrix=bt601:out_range=pc:flags=accurate_rnd"
    shape = ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", f"{width}x{height}"]
    done = subprocess.run(
        ["ffmpeg", "-v", "error", *shape, "-i", str(raw), "-vf", scale, "-pix_fmt", f"yuvj{chroma}p", *shape[:2], "-"],
        capture_output=True,
        check=True,
    )
    theirs = np.frombuffer(done.stdout, np.uint8)
    ours = np.concatenate([plane.ravel() for plane in planes])
    assert np.abs(theirs.astype(int) - ours.astype(int)).mean() <= 1.5

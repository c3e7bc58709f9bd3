"""`decode_image` gives the pixels that Pillow gives, bit for bit, or its refusal: a frame's vector hangs on them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from video_assets.embedding.mobilenet import MobileNetV2
from video_assets.video.errors import UnreadableImage
from video_assets.video.image import decode_image


def by_pillow(data: bytes) -> NDArray[np.uint8] | None:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        return None


def by_us(data: bytes) -> NDArray[np.uint8] | None:
    try:
        return decode_image(data)
    except UnreadableImage:
        return None


def same(ours: NDArray[np.uint8] | None, pillows: NDArray[np.uint8] | None) -> bool:
    return ours is pillows is None or (ours is not None and pillows is not None and np.array_equal(ours, pillows))


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth in one half, noise in the other: all that a decoder interpolates and rounds."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    pixels[:, : width // 2] = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None] ^ np.uint8([0, 85, 170])
    return Image.fromarray(pixels)


def file(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


JPEGS = st.builds(
    lambda width, height, seed, colours, **options: file(picture(width, height, seed), **colours, **options),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 2**32),
    quality=st.integers(1, 100),
    colours=st.sampled_from([{"subsampling": n} for n in (0, 1, 2)] + [{"subsampling": 0, "keep_rgb": True}]),
    progressive=st.booleans(),
    optimize=st.booleans(),
    restart_marker_blocks=st.sampled_from([0, 0, 3]),
)


@settings(deadline=None)
@given(JPEGS)
def test_any_jpeg(data: bytes) -> None:
    assert by_us(data) is not None
    assert same(by_us(data), by_pillow(data))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JPEGS, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4), st.floats(0, 1))
def test_any_damage(data: bytes, changes: list[tuple[float, int]], kept: float) -> None:
    broken = bytearray(data)
    for at, value in changes:
        broken[int(at * (len(data) - 1))] = value
    for part in (bytes(broken), data[: int(kept * len(data))], bytes(broken) + b"more"):
        assert same(by_us(part), by_pillow(part))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_is_to_be_turned(orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    data = file(picture(33, 20), exif=tags)
    assert same(by_us(data), by_pillow(data))
    assert decode_image(data).shape == ((33, 20, 3) if orientation > 4 else (20, 33, 3))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_other_kinds_of_pictures(mode: str, kind: str) -> None:
    data = file(picture(33, 20).convert("RGB" if (mode, kind) == ("CMYK", "PNG") else mode), kind)
    assert same(by_us(data), by_pillow(data))


def test_a_frame_s_vector_is_that_of_pillow_s_pixels() -> None:
    data = file(picture(1280, 720), quality=90)
    pillows = by_pillow(data)
    assert pillows is not None
    model = MobileNetV2()
    assert np.array_equal(model.embed_images([decode_image(data)]), model.embed_images([pillows]))

"""Contact sheets: small enough, complete enough, readable."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from video_assets.video.contact_sheet import contact_sheet
from video_assets.video.errors import UnreadableImage


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (160, 90), *, noise: bool = False) -> bytes:
    pixels = np.full((size[1], size[0], 3), colour, np.uint8)
    if noise:
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return image


@pytest.mark.parametrize("count", [1, 2, 5, 24, 300])
def test_any_number_of_the_worst_pictures_fits(count: int) -> None:
    noisy = picture((0, 0, 0), (320, 180), noise=True)
    assert len(contact_sheet([(f"front {n} s", noisy) for n in range(count)])) <= 50_000


def test_a_given_limit_holds() -> None:
    images = [("front", picture((9, 90, 200), noise=True))] * 12
    assert len(contact_sheet(images, max_bytes=8_000)) <= 8_000


def test_pictures_are_picked_evenly_with_first_and_last() -> None:
    images = [(str(n), picture((n * 255 // 99, 128, 255 - n * 255 // 99))) for n in range(100)]
    sheet = np.asarray(opened(contact_sheet(images)).convert("RGB")).astype(int)
    rows, columns = sheet.shape[0] // 4, sheet.shape[1] // 6
    centres = [sheet[int((r + 0.35) * rows), int((c + 0.5) * columns), 0] for r in range(4) for c in range(6)]
    assert np.allclose(centres, np.linspace(0, 255, 24), atol=8)


def test_labels_are_drawn() -> None:
    plain, labelled = (
        np.asarray(opened(contact_sheet([(label, picture((90, 90, 90)))])).convert("L")).astype(int)
        for label in ("", "front 12:30:05")
    )
    assert plain.shape == labelled.shape
    assert (labelled - plain).max() > 120


def test_upright_and_wide_pictures_share_a_sheet() -> None:
    wide, upright = picture((200, 0, 0)), picture((0, 0, 200), (90, 160))
    sheet = np.asarray(opened(contact_sheet([("a", wide), ("b", wide), ("c", upright)])).convert("RGB"))
    assert (sheet[..., 2] > 150).any()
    assert (sheet[..., 0] > 150).any()


def test_the_same_pictures_give_the_same_sheet() -> None:
    images = [("a", picture((1, 2, 3)))] * 3
    assert contact_sheet(images) == contact_sheet(images)


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(ValueError):
        contact_sheet([])
    with pytest.raises(UnreadableImage, match="front 0"):
        contact_sheet([("front 0", b"no picture")])

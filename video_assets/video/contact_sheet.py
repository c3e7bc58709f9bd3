"""Many frames at a glance: one small JPEG grid with labels."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from video_assets.video.errors import UnreadableImage

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

MAX_FRAMES = 24
_WIDTH = 1000
_GAP = 6
_INK, _PAPER, _BAR = (235, 238, 242), (24, 27, 32), (12, 14, 17)
_SCALES = ((1.0, 78), (1.0, 64), (0.85, 62), (0.7, 58), (0.55, 52), (0.42, 45), (0.3, 40), (0.2, 30))


def contact_sheet(images: Sequence[tuple[str, bytes]], *, max_bytes: int = 50_000) -> bytes:
    """One JPEG of at most `max_bytes` with up to 24 of `images`, picked evenly, first and last included.

    Args:
        images: a label, of one or more lines, and a JPEG or PNG file each, in the order to show.

    Raises:
        ValueError: no images, or `max_bytes` too small for any sheet.
        UnreadableImage: an image cannot be read.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    sheet = _draw(_pick(images))
    for scale, quality in _SCALES:
        data = _jpeg(sheet, scale, quality)
        if len(data) <= max_bytes:
            return data
    raise ValueError(f"a contact sheet of {len(images)} images does not fit into {max_bytes} bytes")


def _pick(images: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    count = min(len(images), MAX_FRAMES)
    if count == 1:
        return [images[0]]
    return [images[round(n * (len(images) - 1) / (count - 1))] for n in range(count)]


def _draw(images: list[tuple[str, bytes]]) -> Image.Image:
    from PIL import Image, ImageDraw, ImageFont

    columns = _columns(len(images))
    width = (_WIDTH - _GAP) // columns - _GAP
    pictures = [_opened(label, data, width) for label, data in images]
    # The usual shape sets the cell; others stand in its middle.
    height = round(width * statistics.median(picture.height / picture.width for picture in pictures))
    height = min(max(height, width // 4), width)
    pictures = [_within(picture, width, height) for picture in pictures]
    font = ImageFont.load_default(size=min(max(13, width // 16), 22))
    line = round(font.getbbox("Ag")[3]) + 3
    bar = line * max(label.count("\n") + 1 for label, _ in images) + 5
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (height + bar + _GAP) + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, ((label, _), picture) in enumerate(zip(images, pictures, strict=True)):
        x = _GAP + number % columns * (width + _GAP)
        y = _GAP + number // columns * (height + bar + _GAP)
        draw.rectangle((x, y, x + width - 1, y + height + bar - 1), fill=_BAR)
        sheet.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
        for row, text in enumerate(label.split("\n")):
            fitted = _fitting(draw, text, font, width - 12)
            draw.text((x + 6, y + height + 3 + row * line), fitted, fill=_INK, font=font)
    return sheet


def _columns(count: int) -> int:
    return next(columns for columns in (1, 2, 3, 4, 6) if columns * columns >= count or columns == 6)


def _opened(label: str, data: bytes, width: int) -> Image.Image:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            image.draft("RGB", (2 * width, 2 * width))
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(label, f"cannot be shown on a contact sheet: {error}") from error


def _within(picture: Image.Image, width: int, height: int) -> Image.Image:
    from PIL import Image

    factor = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _fitting(
    draw: ImageDraw.ImageDraw, label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> str:
    if draw.textlength(label, font=font) <= width:
        return label
    # The end tells frames apart: it is the time.
    while label and draw.textlength("…" + label, font=font) > width:
        label = label[1:]
    return "…" + label


def _jpeg(sheet: Image.Image, scale: float, quality: int) -> bytes:
    from PIL import Image

    if scale < 1:
        sheet = sheet.resize((round(sheet.width * scale), round(sheet.height * scale)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()

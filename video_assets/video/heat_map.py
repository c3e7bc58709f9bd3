"""Shares by name and hour at a glance: one small PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

_CELL_WIDTH, _CELL_HEIGHT, _GAP, _MARGIN = 36, 26, 2, 10
_INK, _PAPER, _UNKNOWN = (235, 238, 242), (24, 27, 32), (62, 67, 76)
_NONE, _ALL = (122, 40, 48), (46, 150, 92)
_LONGEST_NAME = 24


@dataclass(frozen=True, slots=True)
class Share:
    """How many have it, of how many that are known, of how many that there are."""

    there: int
    known: int
    all: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A title, the names of the columns, and a row of shares for each name."""

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Share]]


def draw_heat_map(shares: HeatMap) -> bytes:
    """A PNG of a cell for each share: its number in per cent, coloured from red (none) to green (all).

    What is not known is grey: a cell is coloured as far up as it is known.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, small = ImageFont.load_default(size=13), ImageFont.load_default(size=11)
    names = {name: name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in shares.rows}
    left = _MARGIN + round(max((font.getlength(name) for name in names.values()), default=0)) + 8
    width = (
        max(left + len(shares.columns) * (_CELL_WIDTH + _GAP), round(font.getlength(shares.title)) + _MARGIN) + _MARGIN
    )
    top = 52
    image = Image.new("RGB", (width, top + len(shares.rows) * (_CELL_HEIGHT + _GAP) + 30), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN, _MARGIN), shares.title, fill=_INK, font=font)
    for number, column in enumerate(shares.columns):
        draw.text((_x(left, number) + _CELL_WIDTH // 2, top - 6), column, fill=_INK, font=small, anchor="ms")
    for line, (name, row) in enumerate(shares.rows.items()):
        y = top + line * (_CELL_HEIGHT + _GAP)
        draw.text((_MARGIN, y + _CELL_HEIGHT // 2), names[name], fill=_INK, font=font, anchor="lm")
        for number, share in enumerate(row):
            _cell(draw, _x(left, number), y, share, small)
    _legend(draw, left, image.height - 22, small)
    out = io.BytesIO()
    image.quantize(64).save(out, "PNG", optimize=True)
    return out.getvalue()


def _x(left: int, number: int) -> int:
    return left + number * (_CELL_WIDTH + _GAP)


def _cell(
    draw: ImageDraw.ImageDraw, x: int, y: int, share: Share, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    right, bottom = x + _CELL_WIDTH - 1, y + _CELL_HEIGHT - 1
    draw.rectangle((x, y, right, bottom), fill=_UNKNOWN)
    if not share.known:
        return
    height = max(3, round(_CELL_HEIGHT * share.known / share.all))
    draw.rectangle((x, bottom - height + 1, right, bottom), fill=_colour(share.there / share.known))
    # 99.6 % is not all.
    percent = min(round(100 * share.there / share.known), 100 if share.there == share.known else 99)
    draw.text((x + _CELL_WIDTH // 2, y + _CELL_HEIGHT // 2), str(percent), fill=_INK, font=font, anchor="mm")


def _colour(share: float) -> tuple[int, int, int]:
    red, green, blue = (round(none + (full - none) * share) for none, full in zip(_NONE, _ALL, strict=True))
    return red, green, blue


def _legend(draw: ImageDraw.ImageDraw, x: int, y: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    for colour, text in ((_NONE, "0 %"), (_colour(0.5), "50 %"), (_ALL, "100 % have footage"), (_UNKNOWN, "not known")):
        draw.rectangle((x, y, x + 11, y + 11), fill=colour)
        draw.text((x + 16, y + 6), text, fill=_INK, font=font, anchor="lm")
        x += 16 + round(font.getlength(text)) + 16

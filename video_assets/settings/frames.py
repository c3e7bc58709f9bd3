"""Settings of frames: a group of fields of `settings.Settings`."""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction
from typing import Literal

from pydantic import BaseModel, Field, field_validator


class FramesSettings(BaseModel):
    """Which frames are kept, and as what (SPEC F1 to F8)."""

    frames_sampling: str = Field(
        "every_s=1",
        description="Which frames are kept: every_s=SECONDS, fps=RATE (1/3, 29.97 are exact), count=N, keyframes "
        "or scene.",
    )
    frames_format: Literal["jpeg", "png"] = Field("jpeg", description="The image format of frames.")
    frames_quality: int = Field(90, ge=1, le=100, examples=["90"], description="JPEG quality.")
    frames_longest_side: int | None = Field(
        None, ge=16, examples=["1280 (pixels)"], description="Frames larger than this are reduced to it (pixels)."
    )
    frames_crop: str | None = Field(
        None,
        description="What is cut out of frames: x,y,width,height in displayed pixels, or auto: what black bars frame.",
    )
    frames_min_sharpness: float | None = Field(
        None, ge=0, le=1e6, examples=["50"], description="Frames whose sharpness is below it are filtered as blurred."
    )
    frames_min_brightness: float | None = Field(
        None,
        ge=0,
        le=255,
        examples=["20"],
        description="Frames whose brightness (0 to 255) is below it are filtered as dark.",
    )
    frames_min_phash_distance: int | None = Field(
        None,
        ge=1,
        le=64,
        examples=["10"],
        description="Frames that differ in fewer of 64 bits from the one kept before are near_duplicate.",
    )
    frames_damaged: Literal["fail", "filter"] = Field(
        "fail",
        description="fail: frames that may show errors which the decoder met have failed. filter: they are filtered.",
    )
    frames_packing: Literal["shards", "files"] | None = Field(
        None,
        description="shards: one tar per clip, as WebDataset reads. files: one object per frame. Unset: shards, or "
        "files where tables live in ODPS, whose jobs open image_url.",
    )

    @field_validator("frames_sampling")
    @classmethod
    def _sampling(cls, value: str) -> str:
        name, _, number = value.partition("=")
        known = value in ("keyframes", "scene")
        if name == "count":
            known = re.fullmatch("0*[1-9][0-9]*", number) is not None and len(number) <= 9
        elif name in ("every_s", "fps") and len(number) <= 32 and "e" not in number.lower():
            with contextlib.suppress(ValueError, ZeroDivisionError):
                known = Fraction(number) > 0
        if not known:
            raise ValueError("write every_s=SECONDS, fps=RATE, count=N, keyframes or scene")
        return value

    @field_validator("frames_crop")
    @classmethod
    def _crop(cls, value: str | None) -> str | None:
        box = r"[0-9]{1,5},[0-9]{1,5}(,0*[1-9][0-9]{0,4}){2}"
        if value is not None and value != "auto" and not re.fullmatch(box, value):
            raise ValueError("write x,y,width,height in pixels, or auto")
        return value

"""Which sampled frames go without an image: the damaged, dark, blurred and repeated ones, where asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from video_assets.video.quality import FrameQuality


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a frame is filtered.

    Attributes:
        reason: `damaged`, `dark`, `blurred` or `near_duplicate`; the `error_stage` of its row.
        message: the reason in figures; the `error_msg` of its row.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FrameFilters:
    """What a frame must be to get an image. By default every frame gets one.

    Attributes:
        min_sharpness: below it a frame is `blurred`; a variance of the Laplacian, see `FrameQuality`.
        min_brightness: below it a frame is `dark`; mean luma, 0 to 255.
        min_phash_distance: a frame that differs in fewer of 64 bits from the one kept before is `near_duplicate`.
        damaged: what becomes of frames that may show errors which the decoder met. `fail`: they have an image, and
            have failed. `filter`: they are filtered as `damaged`.
    """

    min_sharpness: float | None = None
    min_brightness: float | None = None
    min_phash_distance: int | None = None
    damaged: Literal["fail", "filter"] = "fail"

    def judge(self, quality: FrameQuality, phash_distance: int | None, damaged: bool) -> Rejection | None:
        """The first reason to filter a frame, in the order of `Rejection.reason`; None if there is none.

        Args:
            phash_distance: to the frame kept before; None where there is none.
            damaged: it may show errors that the decoder met, so that its figures mean little: they are not judged.
        """
        if damaged:
            if self.damaged == "fail":
                return None
            message = "It may show errors that the decoder met, and VIDEO_ASSETS_FRAMES_DAMAGED is filter."
            return Rejection("damaged", message)
        for reason, column, figure, least in (
            ("dark", "brightness", quality.brightness, self.min_brightness),
            ("blurred", "sharpness", quality.sharpness, self.min_sharpness),
            ("near_duplicate", "phash_distance", phash_distance, self.min_phash_distance),
        ):
            if figure is not None and least is not None and figure < least:
                setting = f"VIDEO_ASSETS_FRAMES_MIN_{column.upper()}"
                return Rejection(reason, f"Its {column} is {figure:.4g}, and {setting} is {least:g}.")
        return None

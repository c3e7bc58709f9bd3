"""Cutting a box out of decoded frames before anything else looks at their pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

from video_assets.video.container import reason_of
from video_assets.video.errors import CropError, EncodeError
from video_assets.video.image import to_rgb
from video_assets.video.orientation import Orientation

if TYPE_CHECKING:
    from av import VideoFrame


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the picture as displayed (after rotation), in pixels from its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.x, self.y) < 0 or min(self.width, self.height) < 1:
            raise ValueError(f"a box is x,y,width,height with x and y from 0, width and height from 1, not {self}")

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    def lies_within(self, width: int, height: int) -> bool:
        """Whether a picture of that size has all of the box."""
        return self.x + self.width <= width and self.y + self.height <= height

    def before(self, orientation: Orientation, width: int, height: int) -> Box:
        """The same part of the stored picture; `width` and `height` are those of the displayed one."""
        x = width - self.x - self.width if orientation.hflip else self.x
        y = height - self.y - self.height if orientation.vflip else self.y
        return Box(y, x, self.height, self.width) if orientation.transposed else Box(x, y, self.width, self.height)


Crop = Box | Literal["auto"]
"""A fixed box, or `auto`: what is within black bars, found for each video by `black_bars`."""


def parse_crop(text: str) -> Crop:
    """A crop as settings write it: `x,y,width,height` or `auto`; raises ValueError."""
    if text == "auto":
        return "auto"
    if not re.fullmatch(r"\d{1,5}(,\d{1,5}){3}", text, re.ASCII):
        raise ValueError(f"write x,y,width,height in pixels, or auto, not {text[:40]!r}")
    return Box(*(int(part) for part in text.split(",")))


def cut(frame: VideoFrame, box: Box, orientation: Orientation | None = None, *, label: str = "frame") -> VideoFrame:
    """The box of a frame, still stored as the frame is (not turned); its pixels are shared, not copied.

    Where an edge of the box would divide a chroma sample, the cut frame is RGB instead: the pixels that the whole
    frame has there as an image.

    Raises:
        CropError: the frame does not have all of the box.
        EncodeError: the frame's pixel format cannot be cropped, or not be converted to RGB where it has to be.
    """
    orientation = orientation or Orientation()
    width, height = orientation.apply_to_size(frame.width, frame.height)
    if not box.lies_within(width, height):
        cause = f"the crop {box} (x,y,width,height) does not lie within its {width} × {height} pixels"
        raise CropError(label, cause, "Set VIDEO_ASSETS_FRAMES_CROP to a smaller box, to auto, or to nothing.")
    stored = box.before(orientation, width, height)
    return (_cut_rgb if _splits_chroma(frame, stored) else _cut_planes)(frame, stored, label)


def _splits_chroma(frame: VideoFrame, stored: Box) -> bool:
    """Whether an edge of the box lies between pixels that share a chroma sample."""
    columns, rows = 64 // frame.format.chroma_width(64), 64 // frame.format.chroma_height(64)
    return any((stored.x % columns, stored.width % columns, stored.y % rows, stored.height % rows))


def _cut_planes(frame: VideoFrame, stored: Box, label: str) -> VideoFrame:
    """By FFmpeg's filter, which moves the pointers to the planes. It trusts the size that its graph was made for."""
    import av
    from av.filter import Graph

    graph = Graph()
    graph.threads = 1
    try:
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1)
        )
        crop = graph.add("crop", f"x={stored.x}:y={stored.y}:w={stored.width}:h={stored.height}:exact=1")
        graph.link_nodes(source, crop, graph.add("buffersink")).configure()
        graph.vpush(frame)
        return graph.vpull()
    except (av.FFmpegError, ValueError) as error:
        raise EncodeError(label, f"{frame.format.name} frames cannot be cropped: {reason_of(error)}") from error


def _cut_rgb(frame: VideoFrame, stored: Box, label: str) -> VideoFrame:
    from av import VideoFrame

    rgb = to_rgb(frame, label=label)[stored.y : stored.y + stored.height, stored.x : stored.x + stored.width]
    return VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")

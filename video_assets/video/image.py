"""A decoded frame as a JPEG or PNG with the colours and the orientation a viewer expects."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from video_assets.video.container import MAX_PIXELS, reason_of
from video_assets.video.errors import EncodeError, OutOfMemory, UnreadableImage
from video_assets.video.orientation import Orientation

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL import Image

ImageFormat = Literal["jpeg", "png"]

# AVColorSpace → swscale's tables. The luma/chroma matrices of 5 (BT.470BG) and 6 (SMPTE 170M) are BT.601's.
_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_RGB, _UNSPECIFIED = 0, 2
_BT709, _BT601 = 1, 5
_LIMITED, _FULL = 1, 2
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How frames are written.

    Attributes:
        format: `jpeg` (full-range BT.601, as JFIF means it) or `png` (RGB).
        quality: JPEG quality, 1 to 100.
        longest_side: larger pictures are reduced to it, by area; smaller ones stay as they are.
    """

    format: ImageFormat = "jpeg"
    quality: int = 90
    longest_side: int | None = None

    def __post_init__(self) -> None:
        if self.format not in ("jpeg", "png"):
            raise ValueError(f"an image format is jpeg or png, not {self.format!r}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"a JPEG quality is 1 to 100, not {self.quality}")
        if self.longest_side is not None and self.longest_side < 1:
            raise ValueError(f"a longest side is at least 1 pixel, not {self.longest_side}")


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image file in memory; `width` and `height` as displayed."""

    data: bytes
    width: int
    height: int


def encode_image(
    frame: VideoFrame,
    options: ImageOptions | None = None,
    orientation: Orientation | None = None,
    *,
    label: str = "frame",
) -> EncodedImage:
    """Same frame, same options: same bytes.

    Raises:
        EncodeError: the frame's pixel format or colour system cannot be converted.
    """
    options = options or ImageOptions()
    rgb = to_rgb(frame, options.longest_side, label=label)
    if orientation is not None:
        rgb = orientation.apply(rgb)
    try:
        data = _png(rgb) if options.format == "png" else _jpeg(rgb, options.quality, _subsampling(frame))
    except ValueError as error:
        remedy = "Set VIDEO_ASSETS_FRAMES_LONGEST_SIDE, or the format png."
        raise EncodeError(label, f"cannot become a {options.format}: {error}", remedy) from error
    return EncodedImage(data, width=rgb.shape[1], height=rgb.shape[0])


def to_rgb(frame: VideoFrame, longest_side: int | None = None, *, label: str = "frame") -> NDArray[np.uint8]:
    """Stored pixels (not turned) as 8-bit full-range RGB, height × width × 3.

    The frame's own matrix and range are undone. Where it declares none, the matrix is what players take:
    BT.709 from 1280 pixels wide or more than 576 high, else BT.601; the range is limited, but full for
    `yuvj…` and gray formats. The transfer function is kept as it is: HDR is not mapped to SDR.

    Raises:
        EncodeError.
    """
    import av
    from av.video.reformatter import Interpolation, VideoReformatter

    width, height = _reduced(frame.width, frame.height, longest_side)
    try:
        # Through RGB even where the target is YCbCr: swscale's own matrix change is less exact and slower.
        converted = VideoReformatter().reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=_matrix(frame, label),
            dst_colorspace=_BT601,
            src_color_range=_range(frame),
            dst_color_range=_FULL,
            interpolation=Interpolation.AREA
            | Interpolation.ACCURATE_RND
            | Interpolation.FULL_CHR_H_INT
            | Interpolation.BITEXACT,
            threads=1,
        )
        pixels: Any = converted.to_ndarray()
    except MemoryError as error:
        raise OutOfMemory(label) from error
    except (av.FFmpegError, ValueError) as error:
        name = frame.format.name
        raise EncodeError(label, f"{name} frames cannot be converted to RGB: {reason_of(error)}") from error
    rgb: NDArray[np.uint8] = pixels
    return rgb


def decode_image(data: bytes, *, label: str = "image") -> NDArray[np.uint8]:
    """The pixels of a JPEG or PNG, height × width × 3, RGB; an EXIF orientation is applied.

    Raises:
        UnreadableImage: not a JPEG or PNG, damaged, or larger than a frame may be.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(label, f"has {image.width} × {image.height} pixels, too many")
            turn = _exif_turn(image)
            upright = image if turn is None else image.transpose(turn)
            # Pillow's convert copies the whole picture even where there is nothing to convert.
            return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(label, "is no readable JPEG or PNG picture") from error


def _exif_turn(image: Image.Image) -> Image.Transpose | None:
    """What the orientation tag asks for; None if nothing, or if the tags are damaged."""
    from PIL import Image

    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:
        return None
    return {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation if isinstance(orientation, int) else 1)


def _reduced(width: int, height: int, longest_side: int | None) -> tuple[int, int]:
    longest = max(width, height)
    if longest_side is None or longest <= longest_side:
        return width, height
    return tuple(max(1, round(side * longest_side / longest)) for side in (width, height))  # type: ignore[return-value]


def _matrix(frame: VideoFrame, label: str) -> int:
    declared = int(frame.colorspace)
    if declared in (_RGB, _UNSPECIFIED) or declared not in range(15):
        return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601
    if declared not in _MATRIX:
        raise EncodeError(label, f"has colour system {declared} (AVColorSpace), which cannot be converted")
    return _MATRIX[declared]


def _range(frame: VideoFrame) -> int:
    declared = int(frame.color_range)
    if declared in (_LIMITED, _FULL):
        return declared
    name = frame.format.name
    return _FULL if frame.format.is_rgb or name.startswith(("yuvj", "gray")) else _LIMITED


def _subsampling(frame: VideoFrame) -> str:
    """The JPEG keeps the chroma resolution of the source, at least 4:2:0."""
    if frame.format.is_rgb:
        return "444"
    parts = frame.format.components
    if len(parts) < 3 or parts[1].height < frame.height:
        return "420"
    return "422" if parts[1].width < frame.width else "444"


def _jpeg(rgb: NDArray[np.uint8], quality: int, subsampling: str) -> bytes:
    import simplejpeg

    data: bytes = simplejpeg.encode_jpeg(rgb, quality, "RGB", subsampling)
    return data


def _png(rgb: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG", compress_level=6)
    return out.getvalue()

"""A decoded frame as a JPEG or PNG with the colours and the orientation a viewer expects."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from video_assets.video.colours import BT601, FULL, matrix_of, range_of
from video_assets.video.container import MAX_PIXELS, reason_of
from video_assets.video.errors import EncodeError, OutOfMemory, UnreadableImage
from video_assets.video.jpeg_planes import JpegPlanes, jpeg_planes
from video_assets.video.orientation import Orientation

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL import Image

ImageFormat = Literal["jpeg", "png"]

_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How frames are written.

    Attributes:
        format: `jpeg` (full-range BT.601, as JFIF means it; see `jpeg_planes`) or `png` (RGB).
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
    options, orientation = options or ImageOptions(), orientation or Orientation()
    planes = _planes(frame, options, orientation, label)
    try:
        if planes is not None:
            height, width = planes.luma.shape
            return EncodedImage(_jpeg_of_planes(planes, options.quality), width, height)
        rgb = orientation.apply(to_rgb(frame, options.longest_side, label=label))
        data = _png(rgb) if options.format == "png" else _jpeg(rgb, options.quality, _subsampling(frame))
    except ValueError as error:
        remedy = "Set VIDEO_ASSETS_FRAMES_LONGEST_SIDE, or the format png."
        raise EncodeError(label, f"cannot become a {options.format}: {error}", remedy) from error
    return EncodedImage(data, width=rgb.shape[1], height=rgb.shape[0])


def _planes(frame: VideoFrame, options: ImageOptions, orientation: Orientation, label: str) -> JpegPlanes | None:
    """What a JPEG holds as it is to be shown; None where only RGB can be reduced or turned exactly."""
    size = (frame.width, frame.height)
    if options.format != "jpeg" or _reduced(*size, options.longest_side) != size:
        return None
    planes = jpeg_planes(frame, label=label)
    if planes is None or orientation == Orientation():
        return planes
    # Turned, 4:2:2 would become 4:4:0, and the last block of an odd size the first.
    blocks_fit = all(
        side % plane_side == 0 for side, plane_side in zip(planes.luma.shape, planes.cb.shape, strict=True)
    )
    if not blocks_fit or (orientation.transposed and _subsampling(frame) == "422"):
        return None
    return JpegPlanes(*(orientation.apply(plane) for plane in planes))


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
        converted = VideoReformatter().reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=matrix_of(frame, label),
            dst_colorspace=BT601,
            src_color_range=range_of(frame),
            dst_color_range=FULL,
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


def to_luma(frame: VideoFrame, width: int, height: int, *, label: str = "frame") -> NDArray[np.uint8]:
    """Luma alone (not turned), 8-bit full range, height × width, reduced to that size by area.

    It is the stored luma, by the frame's own matrix; of RGB frames, that of BT.601.

    Raises:
        EncodeError: the frame's pixel format cannot be converted.
    """
    import av
    from av.video.reformatter import Interpolation, VideoReformatter

    # Reduced to 8 bits by swscale, deeper luma would be dithered, and a dither looks sharp.
    deep = any(part.bits > 8 for part in frame.format.components)
    try:
        # swscale takes gray for BT.601's: from another matrix it would go through RGB, and chroma would tint the luma.
        gray = VideoReformatter().reformat(
            frame,
            width=width,
            height=height,
            format="gray16le" if deep else "gray",
            src_colorspace=BT601,
            dst_colorspace=BT601,
            src_color_range=range_of(frame),
            dst_color_range=FULL,
            interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT,
            threads=1,
        )
        pixels: Any = gray.to_ndarray()
    except (av.FFmpegError, ValueError) as error:
        name = frame.format.name
        raise EncodeError(label, f"{name} frames cannot be converted to gray: {reason_of(error)}") from error
    luma: NDArray[np.uint8] = (pixels >> 8).astype(np.uint8) if deep else pixels
    return luma


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
            if turn is None and (pixels := _plain_jpeg(image, data)) is not None:
                return pixels
            upright = image if turn is None else image.transpose(turn)
            # Pillow's convert copies the whole picture even where there is nothing to convert.
            return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(label, "is no readable JPEG or PNG picture") from error


def _plain_jpeg(image: Image.Image, data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of an undamaged JPEG in RGB, for less than Pillow takes to copy them; None where it is no such image.

    Both are libjpeg-turbo, and give the same pixels. What it warns of is for Pillow to judge.
    """
    import simplejpeg

    if (image.format, image.mode) != ("JPEG", "RGB"):
        return None
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError:
        return None
    return pixels if pixels.shape == (image.height, image.width, 3) else None


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


def _subsampling(frame: VideoFrame) -> str:
    """The JPEG keeps the chroma resolution of the source, at least 4:2:0."""
    if frame.format.is_rgb:
        return "444"
    parts = frame.format.components
    if len(parts) < 3 or parts[1].height < frame.height:
        return "420"
    return "422" if parts[1].width < frame.width else "444"


def _jpeg_of_planes(planes: JpegPlanes, quality: int) -> bytes:
    import simplejpeg

    data: bytes = simplejpeg.encode_jpeg_yuv_planes(*map(np.ascontiguousarray, planes), quality)
    return data


def _jpeg(rgb: NDArray[np.uint8], quality: int, subsampling: str) -> bytes:
    import simplejpeg

    data: bytes = simplejpeg.encode_jpeg(rgb, quality, "RGB", subsampling)
    return data


def _png(rgb: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG", compress_level=6)
    return out.getvalue()

"""What can be wrong with a video, as typed errors that become rows."""

from __future__ import annotations

from typing import ClassVar, Literal

from video_assets.errors import VideoAssetsError


class MediaError(VideoAssetsError):
    """A video could not be used as a whole. `item` is the label the caller gave it.

    Attributes:
        stage: where it failed; the `error_stage` of the row.
        retryable: whether the same bytes may succeed later. Damaged bytes never do.
    """

    stage: ClassVar[Literal["probe", "decode", "crop", "encode", "memory"]] = "probe"
    retryable: ClassVar[bool] = False


class UnreadableMedia(MediaError):
    """The bytes could not be read: file missing, no permission, I/O error."""

    retryable = True


class NotAVideo(MediaError):
    """Empty, of another type, or a container damaged beyond opening."""


class NoVideoStream(MediaError):
    """A good container without a video stream (audio only, or only cover art)."""


class DecodeError(MediaError):
    """Some or all frames could not be decoded, or only with errors."""

    stage = "decode"


class ConcealedErrors(DecodeError):
    """Every frame was decoded, some of them only with errors that the decoder concealed."""


class TruncatedMedia(MediaError):
    """The video ends before the duration its container declares."""

    stage = "decode"


class CropError(MediaError):
    """The box to be cut out does not lie within the picture."""

    stage = "crop"


class OutOfMemory(MediaError):
    """A frame needs more memory than there is, or than this process may have."""

    stage = "memory"
    retryable = True

    def __init__(
        self,
        item: str,
        cause: str = "a frame does not fit into memory",
        remedy: str = "Raise VIDEO_ASSETS_ITEM_MEMORY_MIB, or lower VIDEO_ASSETS_WORKERS where the machine is full.",
    ) -> None:
        super().__init__(item, cause, remedy)


class EncodeError(MediaError):
    """A decoded frame could not be made into an image."""

    stage = "encode"


class UnreadableImage(MediaError):
    """Bytes that are no JPEG or PNG picture, or a damaged one."""

    stage = "decode"

"""Opening untrusted containers: one file, known formats, no other file and no network."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

from video_assets.video.errors import MediaError, NotAVideo, NoVideoStream, UnreadableMedia
from video_assets.video.signs import telltale

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

Source = Path | str | BinaryIO
"""A local path, or a seekable binary file. A file is read from its start and left open."""

FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "ogg", "flv", "h264", "hevc", "mpegvideo", "m4v")
"""FFmpeg's names of the containers that are opened. Playlists (HLS) and scripts (concat) are not."""

MAX_PIXELS = 8192 * 8192
"""Larger frames are refused: a damaged header must not ask for gigabytes."""

_READ_BYTES = 256 * 1024


class _Bytes:
    """A file without its name, so that content alone decides the format, and without surprises.

    FFmpeg may take a failed read for the end of the file, or try again and go on with what comes. So the
    first failure is kept and ends the file; `check` then raises it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._failure: Exception | None = None
        file.seek(0)
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if self._failure is None:
            try:
                return self.file.read(size)
            except Exception as failure:
                self._failure = failure
        return b""

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure


def label_of(source: Source, label: str) -> str:
    """The name used in errors: the caller's label, else the path or the file's name."""
    if label:
        return label
    return str(source) if isinstance(source, (str, Path)) else str(getattr(source, "name", "video"))


@contextlib.contextmanager
def open_video(source: Source, label: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open `source` and find its video stream, set up for exact single-threaded decoding.

    FFmpeg gets bytes through Python only: it never opens a path or an address itself, so neither
    `http://…` as a path nor a reference inside a file leads anywhere.

    Raises:
        UnreadableMedia, NotAVideo, NoVideoStream; what a file object raises when read, unchanged.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, (str, Path)):
            data = _Bytes(stack.enter_context(_on_disk(Path(source), label)))
        else:
            data = _Bytes(source)
        try:
            with _open_container(data, label) as container:
                yield container, _video_stream(container, label)
        except Exception:
            data.check()
            raise
        data.check()


class _DiskFile(io.FileIO):
    """A local file whose errors say which item they concern."""

    def __init__(self, path: Path, label: str) -> None:
        super().__init__(path, "rb")
        self._label = label

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size) or b""
        except OSError as error:
            raise _unreadable(self._label, error) from error


def _on_disk(path: Path, label: str) -> BinaryIO:
    try:
        return cast("BinaryIO", _DiskFile(path, label))
    except (OSError, ValueError) as error:
        raise _unreadable(label, error) from error


def _unreadable(label: str, error: Exception) -> UnreadableMedia:
    return UnreadableMedia(label, f"the file cannot be read: {getattr(error, 'strerror', None) or error}")


def _open_container(data: _Bytes, label: str) -> InputContainer:
    import av
    from av.container import Flags

    try:
        container = av.open(
            data,
            mode="r",
            container_options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"},
            metadata_errors="replace",
            buffer_size=_READ_BYTES,
            io_open=_refuse,
        )
    except MediaError:
        raise
    except (av.FFmpegError, ValueError) as error:
        data.check()
        sign = telltale(data.file)
        reason = f"it {sign}" if sign else reason_of(error)
        raise NotAVideo(label, f"cannot be opened as a video: {reason}") from error
    # Invented timestamps are wrong for B-frames in AVI; a missing one is to be seen as missing.
    gen_pts: Any = Flags.gen_pts.value
    container.flags &= ~gen_pts
    return container


def _video_stream(container: InputContainer, label: str) -> VideoStream:
    from av.stream import Disposition

    stream: Any = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise NoVideoStream(label, "has no video stream")
    if stream.codec_context is None:
        raise NoVideoStream(label, "has a video stream of a codec that cannot be decoded here")
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    found: VideoStream = stream
    return found


def _refuse(url: str, _flags: int, _options: dict[str, str]) -> NoReturn:
    raise NotAVideo(url, "refers to another file, which is never opened")


def reason_of(error: Exception) -> str:
    """FFmpeg's own words for an error, without the file name and number around it."""
    return str(getattr(error, "strerror", None) or error)

"""Opening untrusted containers: one file, known formats, no other file and no network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from video_assets.video.errors import MediaError, NotAVideo, NoVideoStream
from video_assets.video.media_file import MediaFile
from video_assets.video.random_access import has_rules
from video_assets.video.signs import telltale

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

Source = Path | str | BinaryIO
"""A local path, or a seekable binary file. A file is read from its start and left open.

A file that has `read_at(position, length) -> bytes`, safe to call from several threads, is read ahead by it.
"""

FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "ogg", "flv", "h264", "hevc", "mpegvideo", "m4v")
"""FFmpeg's names of the containers that are opened. Playlists (HLS) and scripts (concat) are not."""

MAX_PIXELS = 8192 * 8192
"""Larger frames are refused: a damaged header must not ask for gigabytes."""

_READ_BYTES = 256 * 1024


def label_of(source: Source | MediaFile, label: str) -> str:
    """The name used in errors: the caller's label, else the path or the file's name."""
    if label:
        return label
    if isinstance(source, MediaFile):
        return source.label
    return str(source) if isinstance(source, (str, Path)) else str(getattr(source, "name", "video"))


def media_file(source: Source | MediaFile, label: str) -> MediaFile:
    """The file to read `source` by, for one pass or several."""
    return source if isinstance(source, MediaFile) else MediaFile(source, label_of(source, label))


@contextlib.contextmanager
def open_video(
    source: Source | MediaFile, label: str, *, sparse: bool = False
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open `source` and find its first video stream, set up for exact single-threaded decoding.

    FFmpeg gets bytes through Python only: it never opens a path or an address itself, so neither
    `http://…` as a path nor a reference inside a file leads anywhere.

    Args:
        sparse: prepare for `MediaFile.want`, where the packets' times and key frames do not depend on their bytes.

    Raises:
        UnreadableMedia, NotAVideo, NoVideoStream; what a file object raises when read, unchanged.
    """
    file = media_file(source, label)
    with file.opened(sparse=sparse):
        container = _open_by_tables(file, label) if file.sparse else None
        if container is None:
            file.sparse = False
            file.seek(0)
            container = _open_container(file, label)
        with container:
            yield container, _video_stream(container, label)


def _open_by_tables(file: MediaFile, label: str) -> InputContainer | None:
    """Opens a container all of whose facts about packets are in its tables, as long as nothing parses the packets.

    None for codecs that need a parser: in MP4, a sample of MPEG-1 or VC-1 may be half a frame, or several.
    """
    try:
        container = _open_container(file, label, fflags="+noparse")
        if container.format.name.startswith("mov") and has_rules(_video_stream(container, label).codec.canonical_name):
            return container
        container.close()
    except (NotAVideo, NoVideoStream):
        pass
    return None


def _open_container(file: MediaFile, label: str, **options: str) -> InputContainer:
    import av
    from av.container import Flags

    try:
        container = av.open(
            file,
            mode="r",
            container_options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none", **options},
            metadata_errors="replace",
            buffer_size=_READ_BYTES,
            io_open=_refuse,
        )
    except MediaError:
        raise
    except (av.FFmpegError, ValueError) as error:
        sign = telltale(file)
        reason = f"it {sign}" if sign else reason_of(error)
        raise NotAVideo(label, f"cannot be opened as a video: {reason}") from error
    # Invented timestamps are wrong for B-frames in AVI; a missing one is to be seen as missing.
    gen_pts: Any = Flags.gen_pts.value
    container.flags &= ~gen_pts
    return container


def _video_stream(container: InputContainer, label: str) -> VideoStream:
    streams = video_streams(container)
    if not streams:
        raise NoVideoStream(label, "has no video stream")
    stream: Any = streams[0]
    if stream.codec_context is None:
        raise NoVideoStream(label, "has a video stream of a codec that cannot be decoded here")
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1  # dav1d heeds only this, and the types not.
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    found: VideoStream = stream
    return found


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams in the order of the file, cover art left out. The first one is the video."""
    from av.stream import Disposition

    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def demux(container: InputContainer, *streams: Stream) -> Iterator[Packet[Any]]:
    """The packets of `streams`, with an empty last one for each.

    Raises:
        av.FFmpegError: the next packet cannot be read.
    """
    try:
        yield from container.demux(*streams)
    except IndexError:
        # PyAV (github.com/PyAV-Org/PyAV/issues/692) also ends streams that it does not know, which came up on the
        # way; those that were there before have had their end by then.
        return


def complaints() -> int:
    """How many errors FFmpeg has told of in words, in this process; from the first call on they are not shown."""
    import av

    if av.logging.get_level() is None:
        av.logging.set_level(av.logging.PANIC)
    return av.logging.get_last_error()[0]


def last_complaint() -> str:
    """The last of those errors in FFmpeg's words, which may quote the file: one short line of plain characters."""
    import av

    _, error = av.logging.get_last_error()
    text = " ".join("".join(c if " " <= c <= "~" else " " for c in error[2]).split()) if error else ""
    return text[:120]


def _refuse(url: str, _flags: int, _options: dict[str, str]) -> NoReturn:
    raise NotAVideo(url, "refers to another file, which is never opened")


def reason_of(error: Exception) -> str:
    """FFmpeg's own words for an error, without the file name and number around it."""
    return str(getattr(error, "strerror", None) or error)

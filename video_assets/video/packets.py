"""One pass over a container's packets: what each says, the first frame, the end of other streams."""

from __future__ import annotations

import contextlib
import re
from array import array
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from video_assets.video.container import complaints, demux, reason_of
from video_assets.video.media_file import MediaFile
from video_assets.video.random_access import RandomAccess

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_HEAD_BYTES = 16 * 1024
"""Where the first slice of a key frame begins, as a rule; before it are a few units, some of them of a camera's own."""

NO_TIME = int(np.iinfo(np.int64).min)
"""A packet's missing timestamp."""

_X264 = re.compile(rb"x264 - core\s*(\d{1,9})")
_MENDED_ALL, _MENDED_444 = 34, 151
"""Builds of x264 since which it codes as the standard has it: all pictures, and those of the 4:4:4 profiles. FFmpeg
decodes what older ones made as they meant it, if it has seen the packet that tells the build: the file's first."""

_BYTES_PER_PACKET, _PACKETS = 8, 100_000
"""Tables of a few bytes can claim millions of packets, all of them the same bytes of the file. From 100,000 packets
on, a file has 8 bytes for each; less cannot hold a packet and its container's own bytes, audio not counted."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """What is kept of each packet, 43 bytes in all: long clips have a million of them. `keyframe` is a byte each."""

    pts: array[int] = field(default_factory=partial(array, "q"))
    dts: array[int] = field(default_factory=partial(array, "q"))
    duration: array[int] = field(default_factory=partial(array, "q"))
    size_bytes: array[int] = field(default_factory=partial(array, "q"))
    position: array[int] = field(default_factory=partial(array, "q"))
    keyframe: bytearray = field(default_factory=bytearray)
    entry: bytearray = field(default_factory=bytearray)
    discard: bytearray = field(default_factory=bytearray)

    def numbers(self, name: str) -> NDArray[np.int64]:
        """A column of 64-bit numbers; the memory stays the column's."""
        return np.frombuffer(getattr(self, name), np.int64)

    def marks(self, name: str) -> NDArray[np.bool_]:
        """A column of bytes as truth values."""
        return np.frombuffer(getattr(self, name), np.bool_)


class Packets:
    """One pass over a container: what each video packet says, the first frame, the end of other streams."""

    def __init__(self, container: InputContainer, stream: VideoStream, file: MediaFile) -> None:
        self._container, self._stream, self._file = container, stream, file
        self._access = RandomAccess(stream.codec_context)
        self.columns = _Columns()
        self.most = max(_PACKETS, container.size // _BYTES_PER_PACKET)
        self.first_frame: VideoFrame | None = None
        self.other_end_s = 0.0
        self.stopped = ""
        self.empty = 0
        self._old_x264 = False
        self._corrupt = self._complaints = 0

    @property
    def count(self) -> int:
        return len(self.columns.pts)

    @property
    def too_many(self) -> bool:
        return self.count > self.most

    @property
    def key_frames_are_told(self) -> bool:
        """Whether the container tells key frames from others: without a table of them, MP4 calls all frames that."""
        return 0 < sum(self.columns.keyframe) < self.count or self._stream.codec.intra_only

    @property
    def because(self) -> str:
        return f" ({self.stopped})" if self.stopped else ""

    @property
    def skips_unreferenced(self) -> bool:
        return self._access.skips_unreferenced

    def read(self) -> None:
        import av

        packet: Any
        self._complaints -= complaints()
        try:
            for packet in demux(self._container, self._stream, *self._container.streams.audio):
                if packet.stream is not self._stream:
                    self._note_other(packet)
                elif packet.size:
                    self._add(packet)
                elif packet.dts is not None:
                    self.empty += 1
                else:
                    self._find_first_frame(packet)
                if self.too_many:
                    break
        except av.FFmpegError as error:
            self.stopped = f"reading stops after {self.count} packets: {reason_of(error)}"
        self._complaints += complaints()

    def _note_other(self, packet: Packet[AudioStream]) -> None:
        if packet.pts is not None:
            self.other_end_s = max(self.other_end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _add(self, packet: Packet[VideoStream]) -> None:
        columns = self.columns
        columns.pts.append(NO_TIME if packet.pts is None else packet.pts)
        columns.dts.append(NO_TIME if packet.dts is None else packet.dts)
        columns.duration.append(packet.duration or 0)
        columns.size_bytes.append(packet.size)
        columns.position.append(-1 if packet.pos is None else packet.pos)
        columns.keyframe.append(packet.is_keyframe)
        columns.entry.append((self._access.may_start_at if self._file.sparse else self._access.starts_at)(packet))
        columns.discard.append(packet.is_discard)
        self._corrupt += packet.is_corrupt
        if self.first_frame is None:
            self._find_first_frame(packet)

    def _find_first_frame(self, packet: Packet[VideoStream]) -> None:
        import av

        # Rotation, pixel format and colours are known for certain only from a frame.
        if self.first_frame is None:
            told = _X264.search(bytes(packet)) if packet.size else None
            self._complaints += complaints()
            with contextlib.suppress(av.FFmpegError):
                self.first_frame = next(iter(packet.decode()), None)
            self._complaints -= complaints()  # The decoder's, which a decode meets again, are not the container's.
            mended = _MENDED_444 if "4:4:4" in (self._stream.codec_context.profile or "") else _MENDED_ALL
            self._old_x264 |= told is not None and int(told[1]) < mended
            if self.first_frame is not None:
                self._file.want(())

    def confirm_entries(self) -> bool:
        """Look at the packets' first bytes, where there was none yet. False where they do not reach far enough."""
        if not self._access.goes_by_bytes:
            return True
        columns = self.columns
        claimed = np.flatnonzero(columns.marks("entry")).tolist()
        heads = [(columns.position[n], min(columns.size_bytes[n], _HEAD_BYTES)) for n in claimed]
        self._file.want((at, at + length) for at, length in heads)
        for n, head in zip(claimed, heads, strict=True):
            confirmed = self._access.confirms(self._file.bytes_at(*head))
            if confirmed is None and columns.size_bytes[n] > _HEAD_BYTES:
                return False
            columns.entry[n] = confirmed is True
        return True

    def doubt(self, pts: NDArray[np.int64], dts: NDArray[np.int64]) -> str:
        """The first reason not to trust the times, in words."""
        known = dts[dts != NO_TIME]
        if self.stopped:
            return self.stopped
        if self._complaints:
            return "the container's reader reports errors"
        if self._corrupt:
            return "the container marks packets as damaged"
        if (pts == NO_TIME).any():
            return "packets without presentation times"
        if (np.diff(np.sort(pts)) == 0).any():  # np.unique would import numpy.ma, which takes longer than a frame.
            return "two packets have the same presentation time"
        if (np.diff(known) <= 0).any():
            return "decode times do not increase"
        if self.first_frame is None:
            return "no frame could be decoded"
        if self.first_frame.interlaced_frame:
            return "interlaced: a packet may hold half a frame"
        if self._old_x264:
            return "made by an x264 whose mistakes FFmpeg allows for only where it has seen the first packet"
        return self._access.doubt

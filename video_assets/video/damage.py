"""What is wrong with a file, as a full decode meets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from video_assets.video.container import last_complaint
from video_assets.video.errors import ConcealedErrors, DecodeError
from video_assets.video.reach import DamageReach, origin_of

if TYPE_CHECKING:
    from av import VideoFrame

_HARMLESS = ("SEI type",)
"""How FFmpeg's complaints begin that say nothing of pictures: some cameras write messages of a wrong length."""


class Damage:
    """Collects what goes wrong in a decode, packet by packet, and marks how far it reaches.

    Attributes:
        reading: why the file could not be read to its end; empty where it could.
        lost: packets that gave no frame, and were to give one.
        concealed: frames that came out with errors, be it that FFmpeg marks them or that it complained of their packet.
    """

    def __init__(self, reach: DamageReach) -> None:
        self.reach = reach
        self.reading = ""
        self.lost = self.concealed = 0
        self._incomplete = self._frames = 0
        self._complained: set[int] = set()
        self._container = self._first = ""
        self._seen_s: float | None = None

    def note_frame(self, frame: VideoFrame, at_s: float) -> None:
        """A frame came out, at that time."""
        number = origin_of(frame).packet
        self._seen_s = at_s
        self._frames += 1
        if frame.is_corrupt or number in self._complained:
            self._complained.discard(number)
            self.concealed += 1
            self._first = self._first or f"at {at_s:.3f} s"

    def note_container(self, number: int) -> None:
        """FFmpeg complained of the container on its way to packet `number`: it reads on behind damage."""
        self.reach.hit(max(number - 1, 0))  # It may have taken what follows for that packet's.
        self.reach.hit(number)
        self._container = self._container or f"{self._place}: {last_complaint()}"

    def note_incomplete(self, number: int) -> None:
        """The container lacks a part of packet `number`."""
        self.reach.hit(number)
        self._incomplete += 1

    def note_complaint(self, number: int) -> None:
        """The decoder complained of packet `number`. Whether it gives a frame is still to be seen."""
        if not last_complaint().startswith(_HARMLESS):
            self.reach.hit(number)
            self._complained.add(number)

    def note_lost(self, number: int, reason: str) -> None:
        """Packet `number` could not be decoded."""
        self.reach.hit(number)
        self._complained.discard(number)
        self.lost += 1
        self._first = self._first or f"{self._place}: {reason}"

    @property
    def because(self) -> str:
        """The first reason, in brackets."""
        return f" ({self.reading or self._first})" if self.reading or self._first else ""

    def as_error(self, label: str, *, expected: int, disordered: int) -> DecodeError | None:
        """The whole in words, after the last frame; None where nothing is wrong.

        Args:
            expected: at least so many frames must have come out.
            disordered: frames that came out with a time not after the one before.
        """
        self.lost += len(self._complained)
        dropped = max(expected - self._frames - self.lost, 0)
        said = []
        if self.lost:
            said.append(f"{self.lost} packets could not be decoded")
        if self.concealed:
            said.append(f"{self.concealed} frames were decoded with errors")
        if said and self._first:
            said[-1] += f", first {self._first}"
        if dropped:
            said.append(f"{dropped} of {expected} frames did not come out of the decoder")
        if self._incomplete:
            said.append(f"{self._incomplete} packets are incomplete")
        if disordered:
            said.append(f"{disordered} frames came out of their order")
        if self._container:
            said.append(f"the container's reader met errors, first {self._container}")
        if self.reading:
            said.append(f"reading stopped early: {self.reading}")
        self.lost += dropped
        kind = DecodeError if self.lost or self.reading else ConcealedErrors
        return kind(label, "; ".join(said), "Fetch the file again, or repair it") if said else None

    @property
    def _place(self) -> str:
        return "at the start" if self._seen_s is None else f"after {self._seen_s:.3f} s"

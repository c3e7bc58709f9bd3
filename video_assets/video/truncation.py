"""What a container declares, held against what is there."""

from __future__ import annotations

from video_assets.video.errors import DecodeError, MediaError, TruncatedMedia
from video_assets.video.index import VideoIndex

TRUNCATION_TOLERANCE_S = 0.5
"""Shortfall against the declared duration that is still taken for rounding; or two frames, if longer, and for AVI,
which declares frames."""


def is_truncated(index: VideoIndex) -> bool:
    """Whether the packets end before the duration that the container declares."""
    rounding = 0.0 if index.container == "avi" and index.average_rate else TRUNCATION_TOLERANCE_S
    tolerance = max(rounding, float(2 / index.average_rate) if index.average_rate else 0.0)
    return index.declared_duration_s is not None and index.declared_duration_s - index.duration_s > tolerance


def with_truncation(index: VideoIndex, damage: MediaError | None, *, label: str) -> MediaError | None:
    """The damage found otherwise, and a missing end; None where there is neither."""
    if damage is None and index.missing_frames and index.container.startswith("mov,"):
        damage = DecodeError(label, f"{index.missing_frames} packets are not in the file")
    if not is_truncated(index):
        return damage
    declared = index.declared_duration_s or 0.0
    cause = f"ends {declared - index.duration_s:.3f} s early: {index.duration_s:.3f} of {declared:.3f} s declared"
    if damage:
        cause += f"; {damage.cause}"
    return TruncatedMedia(label, cause, "Fetch the whole file again")

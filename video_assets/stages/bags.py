"""The image topics of a bag as clips of their own, each named for its camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

from video_assets.stages.probe import source_columns, stream_columns, truth_columns
from video_assets.stages.windows import put_with_checksum
from video_assets.storage.object_store import ObjectStore
from video_assets.tables import FILTERED, OK
from video_assets.topic_template import camera_pattern
from video_assets.video.errors import DecodeError, MediaError

if TYPE_CHECKING:
    from video_assets.video.bag_clips import BagClip

BAG_VERSION = "1"
"""Raised when the same bag would become other clips or rows."""

SUFFIX = ".bag"


@dataclass(frozen=True, slots=True)
class Bagging:
    """How bags become clips: `camera` is the template topic → camera, `crf` the quality of raw images."""

    camera: str
    crf: int

    @property
    def parameters(self) -> dict[str, str]:
        """What decides the clips of a bag."""
        return {"bag_camera": self.camera, "bag_crf": str(self.crf)}


def write_bag(
    media: BinaryIO, bagging: Bagging, store: ObjectStore, *, key: Callable[[int, str], str], label: str
) -> tuple[list[tuple[int, dict[str, Any]]], MediaError | None]:
    """Publishes a clip for each image topic and returns their numbers and rows, without identity; and what is wrong.

    A topic that the template does not name a camera for is a filtered row.

    Args:
        key: the key of a clip by the topic's number and the suffix.
        label: the item named in errors.
    """
    from video_assets.video.bag_clips import BagClips

    pattern = camera_pattern(bagging.camera)
    clips = BagClips(media, wanted=lambda topic: pattern.fullmatch(topic) is not None, crf=bagging.crf, label=label)
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        for clip in clips:
            match = pattern.fullmatch(clip.topic)
            row = _publish(clip, store, key(clip.number, ".mp4"))
            rows.append((clip.number, {**row, "camera": match and match["camera"]}))
    except MediaError as error:
        return rows, error
    for number, topic in clips.passed_over.items():
        reason = f"topic {topic} names no camera by VIDEO_ASSETS_BAG_CAMERA={bagging.camera}"
        row = {"topic": topic, "status": FILTERED, "error_stage": "topic", "error_msg": reason}
        rows.append((number, row))
    return rows, _joined(clips.problems, label)


def _publish(clip: BagClip, store: ObjectStore, key: str) -> dict[str, Any]:
    size, checksum = put_with_checksum(clip.file, store, key)
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(clip.start_ns / 1000))
    return {
        **stream_columns(clip.index),
        **source_columns(clip.index),
        **truth_columns(clip.index, last=True),
        "topic": clip.topic,
        "start_time": start,
        "duration_s": clip.index.duration_s,
        "size_bytes": size,
        "checksum": checksum,
        "clip_uri": store.uri_of(key),
        "status": OK,
    }


def _joined(problems: dict[str, MediaError], label: str) -> MediaError | None:
    """What is wrong with several topics as one problem; a fault of the bag as a whole is said once."""
    causes = list(dict.fromkeys(error.cause for error in problems.values()))
    if len(causes) < 2:
        return next(iter(problems.values()), None)
    return DecodeError(label, "; ".join(causes), "Look at what records it.")

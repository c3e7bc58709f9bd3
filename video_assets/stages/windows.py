"""Fixed windows of a source video as clips of their own, and their place on the source's clock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from video_assets.stages.probe import source_columns, stream_columns, truth_columns
from video_assets.storage.object_store import STREAM_CHUNK_BYTES, ObjectStore
from video_assets.tables import OK
from video_assets.video.errors import DecodeError, MediaError
from video_assets.video.windows import CannotCut, WindowClip, plan_windows

if TYPE_CHECKING:
    from video_assets.video.index import VideoIndex
    from video_assets.video.remux import WindowCopies
    from video_assets.video.transcode import WindowEncodings


@dataclass(frozen=True, slots=True)
class Windowing:
    """How source videos are cut."""

    seconds: Fraction
    cut: Literal["fast", "accurate"]


def write_windows(
    media: BinaryIO,
    index: VideoIndex,
    windowing: Windowing,
    store: ObjectStore,
    *,
    key: Callable[[int, str], str],
    label: str,
) -> tuple[list[dict[str, Any]], MediaError | None]:
    """Publishes the windows of a video and returns their rows, in order, without identity; and what is wrong with it.

    Windows before a damage are kept.

    Args:
        index: what `media` holds.
        key: the key of a window by its number and suffix.
        label: the item named in errors.

    Raises:
        CannotCut: the video is one clip at best; none of its windows is in the store.
    """
    rows: list[dict[str, Any]] = []
    keys: list[str] = []
    problem: MediaError | None
    try:
        cut = _cut(media, index, windowing, label)
        for clip in cut:
            keys.append(key(clip.number, clip.suffix))
            rows.append(_publish(clip, cut.start_pts, index, store, keys[-1]))
        problem = cut.problem
    except CannotCut:
        for written in keys:
            store.delete(written)
        raise
    except MediaError as error:
        problem = error
    if rows:
        rows[-1] |= truth_columns(index, last=True)
    elif problem is None:
        problem = DecodeError(label, "has no frame to cut")
    return rows, problem


def _cut(media: BinaryIO, index: VideoIndex, windowing: Windowing, label: str) -> WindowCopies | WindowEncodings:
    from video_assets.video.remux import WindowCopies
    from video_assets.video.transcode import WindowEncodings

    if windowing.cut == "accurate":
        return WindowEncodings(media, index, windowing.seconds, label=label)
    return WindowCopies(media, index, plan_windows(index, windowing.seconds, label=label), label=label)


def _publish(clip: WindowClip, source_start: int, source: VideoIndex, store: ObjectStore, key: str) -> dict[str, Any]:
    size, checksum = put_with_checksum(clip.file, store, key)
    return {
        **stream_columns(clip.index),
        **source_columns(source),
        **truth_columns(source, last=False),
        "window": clip.number,
        "source_pts": clip.start_pts,
        "source_pts_s": float((clip.start_pts - source_start) * source.time_base),
        "duration_s": float((clip.end_pts - clip.start_pts) * source.time_base),
        "size_bytes": size,
        "checksum": checksum,
        "clip_uri": store.uri_of(key),
        "status": OK,
    }


def put_with_checksum(file: BinaryIO, store: ObjectStore, key: str) -> tuple[int, str]:
    """Publishes a file from where it stands to its end; returns its size in bytes and its checksum as rows have it."""
    digest = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        while chunk := file.read(STREAM_CHUNK_BYTES):
            digest.update(chunk)
            yield chunk

    size = store.put(key, chunks()).size_bytes
    return size, f"sha256:{digest.hexdigest()}"


def seconds_into_source(clip: Mapping[str, Any], frame: Mapping[str, Any] | None = None) -> float:
    """Seconds from the source's first presented frame to the clip's, or to a frame of the clip: rounded once.

    So a frame has the same time whether or not its source was cut.
    """
    if clip["window"] is None:
        return 0.0 if frame is None else float(frame["pts_s"])
    tick = Fraction(clip["source_time_base_num"], clip["source_time_base_den"])
    seconds = round(Fraction(clip["source_pts_s"]) / tick) * tick
    if frame is not None:
        seconds += frame["pts"] * Fraction(frame["time_base_num"], frame["time_base_den"])
    return float(seconds)


def later(start: datetime | None, seconds: float) -> datetime | None:
    """None where the start is unknown, or a damaged file's time is beyond the calendar."""
    try:
        return None if start is None else start + timedelta(seconds=seconds)
    except OverflowError:
        return None

"""Writing extracted frames to a store, for the `frames` stage and for the command line alike."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from video_assets.storage.object_store import ObjectNotFound, ObjectStore
from video_assets.storage.registry import open_store, split_uri
from video_assets.storage.stream_keys import split_stream_key
from video_assets.table_store.parquet_bytes import parquet_bytes
from video_assets.tables import FAILED, FILTERED, FRAMES, OK
from video_assets.video.errors import MediaError, UnreadableMedia
from video_assets.video.extract import ExtractedFrame, FrameExtraction

if TYPE_CHECKING:
    from video_assets.video.crop import Crop
    from video_assets.video.image import EncodedImage, ImageOptions
    from video_assets.video.sampling import SamplingPolicy

SUFFIX = {"jpeg": ".jpg", "png": ".png"}
TABLE = "frames.parquet"

_COLUMNS = (
    "frame_idx",
    "pts",
    "time_base_num",
    "time_base_den",
    "pts_s",
    "crop_x",
    "crop_y",
    "crop_width",
    "crop_height",
    "sharpness",
    "brightness",
    "phash",
    "phash_distance",
    "width",
    "height",
    "status",
    "error_stage",
    "error_msg",
    "image_url",
    "image_offset",
    "image_size_bytes",
    "decode_errors",
)


@dataclass(frozen=True, slots=True)
class Extraction:
    """What `extract_to_folder` made. `error_msg` says what the video lacks; None if it is whole.

    `bytes_read` were fetched of the video's `bytes_total`.
    """

    table: str
    frames: int
    mode: str
    bytes_read: int
    bytes_total: int
    seconds: float
    error_stage: str | None
    error_msg: str | None


def write_frames(
    frames: Iterable[ExtractedFrame],
    store: ObjectStore,
    *,
    name: Callable[[int], str],
    image_format: str,
    shard_key: str | None = None,
    folder: str = "",
) -> list[dict[str, Any]]:
    """Publishes images and returns the frames' rows, in order: rows without an image_id, which is the caller's.

    Args:
        frames: the frames, taken one at a time.
        name: the file name of a frame by its number, without suffix.
        shard_key: the key of one tar for all; it appears when its last frame is in, and only if one has an image.
        folder: without `shard_key`, the prefix of one object for each frame.
    """
    rows: list[dict[str, Any]] = []
    if shard_key is not None:
        pieces = _shard(frames, rows, store.uri_of(shard_key), name, image_format)
        if (first := next(pieces, None)) is not None:
            store.put(shard_key, chain((first,), pieces))
        return rows
    for frame in frames:
        row = _row(frame)
        if frame.image is not None:
            key = folder + name(frame.frame_idx) + SUFFIX[image_format]
            store.put(key, frame.image.data)
            row |= _image_columns(frame.image, store.uri_of(key), None, image_format)
        rows.append(row)
    return rows


def _shard(
    frames: Iterable[ExtractedFrame],
    rows: list[dict[str, Any]],
    uri: str,
    name: Callable[[int], str],
    image_format: str,
) -> Iterator[bytes]:
    """The pieces of the tar; none where no frame has an image."""
    from video_assets.video.shard import ShardWriter

    writer = ShardWriter()
    for frame in frames:
        row = _row(frame)
        if frame.image is not None:
            yield writer.add(name(frame.frame_idx) + SUFFIX[image_format], frame.image.data)
            row |= _image_columns(frame.image, uri, writer.members[-1].offset, image_format)
        rows.append(row)
    if writer.members:
        yield writer.end()


def _row(frame: ExtractedFrame) -> dict[str, Any]:
    box, quality = frame.crop, frame.quality
    row = {
        "frame_idx": frame.frame_idx,
        "pts": frame.pts,
        "time_base_num": frame.time_base.numerator,
        "time_base_den": frame.time_base.denominator,
        "pts_s": frame.pts_s,
        "sharpness": quality.sharpness,
        "brightness": quality.brightness,
        "phash": f"{quality.phash:016x}",
        "phash_distance": frame.phash_distance,
        **_status_columns(frame),
    }
    if box is not None:
        row |= {"crop_x": box.x, "crop_y": box.y, "crop_width": box.width, "crop_height": box.height}
    return row


def _status_columns(frame: ExtractedFrame) -> dict[str, Any]:
    if frame.rejection is not None:
        return {"status": FILTERED, "error_stage": frame.rejection.reason, "error_msg": frame.rejection.message}
    if frame.damaged:
        message = f"The decoder met errors at {frame.pts_s:.3f} s or shortly before, which the frame may show."
        return {"status": FAILED, "error_stage": "decode", "error_msg": message}
    return {"status": OK, "error_stage": None, "error_msg": None}


def _image_columns(image: EncodedImage, uri: str, offset: int | None, image_format: str) -> dict[str, Any]:
    return {
        "width": image.width,
        "height": image.height,
        "image_format": image_format,
        "image_url": uri,
        "image_offset": offset,
        "image_size_bytes": len(image.data),
    }


def extract_to_folder(
    video: str,
    folder: Path,
    policy: SamplingPolicy,
    options: ImageOptions,
    *,
    crop: Crop | None = None,
    shard: bool = False,
) -> Extraction:
    """Extracts one video into a folder: images or `frames.tar`, and the table `frames.parquet`.

    Images of an earlier extraction into the same folder that this one does not have are removed.
    """
    begun = time.monotonic()
    source = video if video.startswith("file:") or "://" in video else str(Path(video).resolve())
    root, key = split_uri(source)
    _require_file(video, source)
    store = open_store(str(folder.resolve()), create=True)
    rows: list[dict[str, Any]] = []
    mode = "none"
    bytes_read = bytes_total = 0
    decode_errors: int | None = None
    try:
        with open_store(root).open(key) as media:
            extraction = FrameExtraction(media, policy, options, crop=crop, label=source)
            rows = write_frames(
                extraction,
                store,
                name=lambda number: f"{number:06d}",
                image_format=options.format,
                shard_key="frames.tar" if shard else None,
            )
            problem, mode = extraction.report.problem, extraction.report.mode
            bytes_read, bytes_total = extraction.report.bytes_read, extraction.report.bytes_total
            decode_errors = extraction.report.decode_errors
    except MediaError as error:
        problem = error
    count = len(rows)
    if problem is not None:
        failure = {"status": FAILED, "error_stage": problem.stage, "error_msg": str(problem)}
        rows.append({**failure, "decode_errors": decode_errors})
    table = FRAMES.rows(rows).select(list(_COLUMNS))
    _remove_stale(store, table)
    store.put(TABLE, parquet_bytes(table))
    seconds = round(time.monotonic() - begun, 3)
    stage, message = (problem.stage, str(problem)) if problem else (None, None)
    return Extraction(store.uri_of(TABLE), count, mode, bytes_read, bytes_total, seconds, stage, message)


def _require_file(video: str, source: str) -> None:
    """Refuses what is no file on disk before anything is made in the folder.

    Raises:
        UnreadableMedia: under the name that was given.
    """
    if ("://" in source and not source.startswith("file://")) or split_stream_key(source) is not None:
        return
    path = Path(unquote(source.removeprefix("file://")) if source.startswith("file:") else source)
    if path.is_dir():
        raise UnreadableMedia(video, "is a folder, not a video", "Name one file in it.")
    if not path.exists():
        raise UnreadableMedia(video, "no such file", "Look at the path.")


def _remove_stale(store: ObjectStore, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    try:
        earlier = pq.ParquetFile(io.BytesIO(store.get(TABLE))).read(columns=["image_url"])
    except (ObjectNotFound, pa.ArrowException):
        return
    for uri in {*earlier["image_url"].to_pylist()} - {*table["image_url"].to_pylist()}:
        key = store.key_of(uri) if uri else None
        if key is not None:
            store.delete(key)

"""Writing extracted frames to a store, for the `frames` stage and for the command line alike."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from video_assets.storage.object_store import ObjectNotFound, ObjectStore
from video_assets.storage.registry import open_store, split_uri
from video_assets.table_store.parquet import parquet_bytes
from video_assets.tables import FAILED, FRAMES, OK
from video_assets.video.errors import MediaError
from video_assets.video.extract import ExtractedFrame, FrameExtraction

if TYPE_CHECKING:
    from video_assets.video.image import ImageOptions
    from video_assets.video.sampling import SamplingPolicy

SUFFIX = {"jpeg": ".jpg", "png": ".png"}
TABLE = "frames.parquet"

_COLUMNS = (
    "frame_idx",
    "pts",
    "time_base_num",
    "time_base_den",
    "pts_s",
    "width",
    "height",
    "status",
    "error_stage",
    "error_msg",
    "image_url",
    "image_offset",
    "image_size_bytes",
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
    """Publishes images and returns their rows, in order: a row without an image_id, which is the caller's.

    Args:
        frames: the frames, taken one at a time.
        name: the file name of a frame by its number, without suffix.
        shard_key: the key of one tar for all; it appears when its last frame is in.
        folder: without `shard_key`, the prefix of one object for each frame.
    """
    rows: list[dict[str, Any]] = []
    if shard_key is None:
        for frame in frames:
            key = folder + name(frame.frame_idx) + SUFFIX[image_format]
            store.put(key, frame.data)
            rows.append(_row(frame, store.uri_of(key), None, image_format))
    else:
        store.put(shard_key, _shard(frames, rows, store.uri_of(shard_key), name, image_format))
    return rows


def _shard(
    frames: Iterable[ExtractedFrame],
    rows: list[dict[str, Any]],
    uri: str,
    name: Callable[[int], str],
    image_format: str,
) -> Iterator[bytes]:
    from video_assets.video.shard import ShardWriter

    writer = ShardWriter()
    for frame in frames:
        yield writer.add(name(frame.frame_idx) + SUFFIX[image_format], frame.data)
        rows.append(_row(frame, uri, writer.members[-1].offset, image_format))
    yield writer.end()


def _row(frame: ExtractedFrame, uri: str, offset: int | None, image_format: str) -> dict[str, Any]:
    concealed = f"The decoder met errors at {frame.pts_s:.3f} s and concealed them." if frame.damaged else None
    return {
        "frame_idx": frame.frame_idx,
        "pts": frame.pts,
        "time_base_num": frame.time_base.numerator,
        "time_base_den": frame.time_base.denominator,
        "pts_s": frame.pts_s,
        "width": frame.width,
        "height": frame.height,
        "image_format": image_format,
        "image_url": uri,
        "image_offset": offset,
        "image_size_bytes": len(frame.data),
        "status": FAILED if frame.damaged else OK,
        "error_stage": "decode" if frame.damaged else None,
        "error_msg": concealed,
    }


def extract_to_folder(
    video: str, folder: Path, policy: SamplingPolicy, options: ImageOptions, *, shard: bool
) -> Extraction:
    """Extracts one video into a folder: images or `frames.tar`, and the table `frames.parquet`.

    Images of an earlier extraction into the same folder that this one does not have are removed.
    """
    begun = time.monotonic()
    source = video if video.startswith("file:") or "://" in video else str(Path(video).resolve())
    root, key = split_uri(source)
    store = open_store(str(folder.resolve()), create=True)
    rows: list[dict[str, Any]] = []
    mode = "none"
    bytes_read = bytes_total = 0
    try:
        with open_store(root).open(key) as media:
            extraction = FrameExtraction(media, policy, options, label=source)
            rows = write_frames(
                extraction,
                store,
                name=lambda number: f"{number:06d}",
                image_format=options.format,
                shard_key="frames.tar" if shard else None,
            )
            problem, mode = extraction.report.problem, extraction.report.mode
            bytes_read, bytes_total = extraction.report.bytes_read, extraction.report.bytes_total
    except MediaError as error:
        problem = error
    count = len(rows)
    if problem is not None:
        rows.append({"status": FAILED, "error_stage": problem.stage, "error_msg": str(problem)})
    table = FRAMES.rows(rows).select(list(_COLUMNS))
    _remove_stale(store, table)
    store.put(TABLE, parquet_bytes(table))
    seconds = round(time.monotonic() - begun, 3)
    stage, message = (problem.stage, str(problem)) if problem else (None, None)
    return Extraction(store.uri_of(TABLE), count, mode, bytes_read, bytes_total, seconds, stage, message)


def _remove_stale(store: ObjectStore, table: pa.Table) -> None:
    try:
        earlier = pq.read_table(io.BytesIO(store.get(TABLE)), columns=["image_url"])
    except (ObjectNotFound, pa.ArrowException):
        return
    for uri in {*earlier["image_url"].to_pylist()} - {*table["image_url"].to_pylist()}:
        key = store.key_of(uri) if uri else None
        if key is not None:
            store.delete(key)

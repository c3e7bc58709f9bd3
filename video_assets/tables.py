"""The Arrow schema of every table: what a row is, and per column its type, unit and meaning.

Partition columns (`date`, `vehicle`) live in the path only; readers restore them. Times are UTC with microseconds.
Columns marked volatile (attempts, messages) are no part of a table's data version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import pyarrow as pa

UTC_TIME = pa.timestamp("us", tz="UTC")

OK, FAILED, FILTERED = "ok", "failed", "filtered"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `volatile` ones may differ between two runs of the same work."""

    name: str
    type: pa.DataType
    description: str
    volatile: bool = False


@dataclass(frozen=True)
class Table:
    """One table. `key` names the columns that identify a row and, in this order, sort the table."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partitioned_by: tuple[str, ...] = ("date", "vehicle")

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema; descriptions are field metadata."""
        return pa.schema([pa.field(c.name, c.type, metadata={"description": c.description}) for c in self.columns])

    @cached_property
    def stable_columns(self) -> list[str]:
        """What a data version is made of."""
        return [column.name for column in self.columns if not column.volatile]

    def rows(self, rows: list[dict[str, Any]]) -> pa.Table:
        """Rows as an Arrow table of this schema; a key that is no column is an error."""
        for row in rows:
            if unknown := row.keys() - set(self.schema.names):
                raise ValueError(f"table {self.name} has no column {', '.join(sorted(unknown))}")
        return pa.Table.from_pylist(rows, schema=self.schema)


def _columns(spec: Mapping[str, tuple[pa.DataType, str]]) -> tuple[Column, ...]:
    return tuple(Column(name, kind, description) for name, (kind, description) in spec.items())


STATUS = (
    Column("status", pa.string(), "ok, failed or filtered."),
    Column("error_stage", pa.string(), "Where it failed or why it was filtered; null if ok."),
    Column("error_msg", pa.string(), "What went wrong and how to mend it; null if ok.", volatile=True),
    Column("attempts", pa.int32(), "In how many runs the item was begun.", volatile=True),
)

ITEM = Column(
    "item_id",
    pa.string(),
    "The item that the row is of: its record is items/<item_id>.parquet; null in rows of before it was kept.",
)

VIDEO_MANIFEST = Table(
    "video_manifest",
    "One row per source video of a vehicle's day: the work list of everything downstream.",
    ("video_path",),
    _columns(
        {
            "video_path": (pa.string(), "URI of the source object."),
            "size_bytes": (pa.int64(), "Size of the source object in bytes."),
            "last_modified": (pa.string(), "When it was uploaded, UTC, YYYY-MM-DD HH:MM:SS."),
            "etag": (pa.string(), "Version of the source object; for local files size, mtime and inode."),
            "camera": (pa.string(), "Camera, from the path; null where the path names none."),
            "start_time": (UTC_TIME, "When the recording starts, from the path; null where unknown."),
            "source": (pa.string(), "How the row was found: listing, inventory, list, catalogue or fleet_api."),
        }
    )
    + (Column("source_deleted_at", UTC_TIME, "When the source object was first seen gone; null if there.", True),)
    + STATUS,
)

CLIPS = Table(
    "clips",
    "One row per clip: a source video, a window of it or a topic of a bag: bytes in hand, probed and checksummed.",
    ("video_path", "clip_id"),
    _columns(
        {
            "clip_id": (pa.string(), "Id from source identity, version, parameters and code version."),
            "video_path": (pa.string(), "URI of the source video."),
            "source_etag": (pa.string(), "Version of the source video that the clip was made from."),
            "camera": (pa.string(), "Camera of the source video."),
            "start_time": (UTC_TIME, "UTC time of the first presented frame; null where unknown."),
            "duration_s": (pa.float64(), "Seconds from the first presented frame to the next window's, or to the end."),
            "window": (
                pa.int64(),
                "Number k of the fixed window: the first frame is at k·VIDEO_ASSETS_CLIP_SECONDS or later; null: the "
                "clip is the whole source.",
            ),
            "topic": (pa.string(), "The image topic of the ROS bag that the clip was made of; null for a video."),
            "uncut_reason": (pa.string(), "Why the source is one clip though windows were asked for; null otherwise."),
            "source_pts": (
                pa.int64(),
                "Presentation time of the first presented frame in the source, in units of the source's time base; "
                "null where packets have none.",
            ),
            "source_time_base_num": (pa.int64(), "Numerator of the source's time base in seconds."),
            "source_time_base_den": (pa.int64(), "Denominator of the source's time base in seconds."),
            "source_pts_s": (pa.float64(), "Seconds from the source's first presented frame to the clip's."),
            "container": (pa.string(), "Container format as FFmpeg names it."),
            "video_streams": (pa.int32(), "Video streams in the file, cover art left out; the first is taken."),
            "codec": (pa.string(), "Video codec as FFmpeg names it."),
            "width": (pa.int32(), "Width as displayed, in pixels."),
            "height": (pa.int32(), "Height as displayed, in pixels."),
            "rotation": (pa.int32(), "Degrees by which the stored picture is turned for display."),
            "frame_count": (pa.int64(), "Presented frames."),
            "average_rate": (pa.float64(), "Average frame rate in frames per second."),
            "interlaced": (pa.bool_(), "Whether its first frame is two fields; frames are not deinterlaced."),
            "declared_duration_s": (
                pa.float64(),
                "Duration in seconds that the source's container declares; null where it declares none.",
            ),
            "truncated": (
                pa.bool_(),
                "Whether the source ends before the duration it declares; of windows, told of the last one.",
            ),
            "missing_frames": (
                pa.int64(),
                "Frames that the source's container declares and does not hold, told of the last window, 0 of the "
                "others; null where it declares no number.",
            ),
            "size_bytes": (pa.int64(), "Size of the clip in bytes."),
            "checksum": (pa.string(), "sha256:<hex> of the clip's bytes; null in mode reference."),
            "clip_uri": (pa.string(), "Where the clip's bytes are; null where they could not be had."),
        }
    )
    + (ITEM,)
    + STATUS,
)

FRAMES = Table(
    "frames",
    "One row per sampled frame of a clip, with its exact presentation time and where its image lies.",
    ("video_path", "clip_id", "frame_idx"),
    _columns(
        {
            "image_id": (pa.string(), "Id of the frame; null where the clip gave none."),
            "clip_id": (pa.string(), "The clip it is from."),
            "video_path": (pa.string(), "URI of the source video."),
            "camera": (pa.string(), "Camera of the source video."),
            "frame_idx": (pa.int64(), "Number among the clip's sampled frames, from 0."),
            "pts": (pa.int64(), "Presentation time in units of the time base."),
            "time_base_num": (pa.int64(), "Numerator of the time base in seconds."),
            "time_base_den": (pa.int64(), "Denominator of the time base in seconds."),
            "pts_s": (pa.float64(), "Seconds since the clip's first presented frame."),
            "captured_at": (UTC_TIME, "UTC time of the frame; null where the clip's start is unknown."),
            "crop_x": (pa.int32(), "Left edge of the cut-out box in pixels as displayed; null where nothing was cut."),
            "crop_y": (pa.int32(), "Upper edge of that box in pixels as displayed."),
            "crop_width": (pa.int32(), "Width of that box in pixels, before any reduction."),
            "crop_height": (pa.int32(), "Height of that box in pixels, before any reduction."),
            "sharpness": (
                pa.float32(),
                "Variance of the Laplacian of the luma (0 to 255) at 256 pixels across; larger is sharper.",
            ),
            "brightness": (pa.float32(), "Mean luma, from 0 (black) to 255 (white)."),
            "phash": (pa.string(), "64-bit perceptual hash as 16 hexadecimal digits, bits as in imagehash.phash."),
            "phash_distance": (
                pa.int32(),
                "Bits, 0 to 64, in which the hash differs from that of the ok frame before; null without one.",
            ),
            "width": (pa.int32(), "Width of the image in pixels; null where the frame has none."),
            "height": (pa.int32(), "Height of the image in pixels; null where the frame has none."),
            "image_format": (pa.string(), "jpeg or png; null where the frame has no image."),
            "image_url": (
                pa.string(),
                "URI of the object that holds the image: the image itself, or a tar shard; null for a filtered frame.",
            ),
            "image_offset": (
                pa.int64(),
                "Offset of the image in that object in bytes; null: the object is the image.",
            ),
            "image_size_bytes": (pa.int64(), "Size of the image in bytes."),
            "decode_errors": (
                pa.int64(),
                "In the clip's own row, which has no image_id: how many packets could not be decoded, or only with "
                "errors, which are looked for in all of the clip once one is met; null in rows of frames.",
            ),
        }
    )
    + (ITEM,)
    + STATUS,
)

EMBEDDINGS = Table(
    "embeddings",
    "One row per frame and model: where its unit vector lies. The vectors are the item records named by vectors_uri.",
    ("model", "video_path", "clip_id", "frame_idx"),
    _columns(
        {
            "image_id": (pa.string(), "The embedded frame; null where a whole clip failed."),
            "clip_id": (pa.string(), "The clip it is from."),
            "video_path": (pa.string(), "URI of the source video."),
            "camera": (pa.string(), "Camera of the source video."),
            "frame_idx": (pa.int64(), "Number among the clip's sampled frames, from 0."),
            "pts_s": (pa.float64(), "Seconds since the clip's first presented frame."),
            "captured_at": (UTC_TIME, "UTC time of the frame; null where unknown."),
            "image_url": (pa.string(), "URI of the object that holds the image."),
            "image_offset": (
                pa.int64(),
                "Offset of the image in that object in bytes; null: the object is the image.",
            ),
            "image_size_bytes": (pa.int64(), "Size of the image in bytes."),
            "model": (pa.string(), "Name of the model."),
            "model_version": (pa.string(), "Version of the model's weights and preprocessing."),
            "dim": (pa.int32(), "Number of dimensions of the vector."),
            "labels": (pa.list_(pa.string()), "What the model takes the picture for, likeliest first."),
            "vectors_uri": (pa.string(), "The Parquet file that holds the vector, in its column `vector`."),
            "vector_row": (pa.int64(), "Row of the vector in that file, from 0."),
        }
    )
    + (ITEM,)
    + STATUS,
)

VECTOR_INDEX = Table(
    "vector_index",
    "One row per model: how many points of the partition its collection holds.",
    ("model",),
    _columns(
        {
            "model": (pa.string(), "Name of the model."),
            "model_version": (pa.string(), "Version of the model."),
            "collection": (pa.string(), "Collection of the index that holds the points."),
            "vectors": (pa.int64(), "Vectors of the partition that should be points."),
            "points": (pa.int64(), "Points of the partition that the index holds."),
            "points_fingerprint": (pa.string(), "Hash of the ids and contents of the points."),
        }
    )
    + STATUS,
)

FLEET_WINDOWS = Table(
    "fleet_windows",
    "One row per camera and window of a vehicle's day: whether a fleet's batch API has footage, and where its bag is.",
    ("camera", "start_time", "end_time"),
    _columns(
        {
            "camera": (pa.string(), "The camera that was asked for."),
            "start_time": (UTC_TIME, "When the window begins."),
            "end_time": (UTC_TIME, "When it ends."),
            "state": (
                pa.string(),
                "saved: its bag is in the store. available: there is footage. missing: there is none. failed: it could "
                "not be asked for or fetched. unknown: it was not asked for.",
            ),
            "bag_uri": (pa.string(), "Where the bag lies; null where it is not saved."),
            "size_bytes": (pa.int64(), "Size of the bag in bytes."),
            "etag": (pa.string(), "Version of the bag in the store."),
            "last_modified": (pa.string(), "When the bag was saved, UTC, YYYY-MM-DD HH:MM:SS."),
        }
    )
    + (Column("asked_at", UTC_TIME, "When the service was asked last; null where it was not.", True),)
    + STATUS,
)

FLEET_DAILY = Table(
    "fleet_daily",
    "One row per vehicle of the fleet's day: what came in, what came out, what failed.",
    ("vehicle",),
    _columns(
        {
            "vehicle": (pa.string(), "The vehicle."),
            "videos": (pa.int64(), "Source videos."),
            "source_bytes": (pa.int64(), "Bytes of the source videos."),
            "clips": (pa.int64(), "Clips that are ok."),
            "clip_seconds": (pa.float64(), "Seconds of footage in them."),
            "frames": (pa.int64(), "Frames that are ok."),
            "embeddings": (pa.int64(), "Vectors that are ok, over all models."),
            "failed": (pa.int64(), "Failed rows over all tables of the vehicle's day."),
            "failed_clips": (pa.int64(), "Failed rows of clips."),
            "failed_frames": (pa.int64(), "Failed rows of frames."),
            "failed_embeddings": (pa.int64(), "Failed rows of embeddings."),
            "filtered": (pa.int64(), "Filtered rows over all tables of the vehicle's day."),
        }
    )
    + (Column("seconds_spent", pa.float64(), "What all stages took for the rows that are there, in seconds.", True),)
    + STATUS,
    partitioned_by=("date",),
)

UNMATCHED = Table(
    "unmatched",
    "One row per object of the source that is no video of a known vehicle and day, with the reason.",
    ("video_path",),
    _columns(
        {
            "video_path": (pa.string(), "URI of the source object."),
            "size_bytes": (pa.int64(), "Size in bytes."),
            "last_modified": (pa.string(), "When it was uploaded, UTC, YYYY-MM-DD HH:MM:SS."),
            "etag": (pa.string(), "Version of the object."),
            "source": (pa.string(), "How it was found: listing, inventory or list."),
        }
    )
    + STATUS,
    partitioned_by=(),
)

CHAIN = (VIDEO_MANIFEST, CLIPS, FRAMES, EMBEDDINGS, VECTOR_INDEX)
"""What an upload becomes, in order: each is made of the one before, for the same partition."""

MADE_OF = {after.name: before for before, after in pairwise(CHAIN)}
"""The table that each of the chain is made of; the first is made of the uploads."""

ALL = (*CHAIN, FLEET_WINDOWS, FLEET_DAILY, UNMATCHED)
BY_NAME = {table.name: table for table in ALL}

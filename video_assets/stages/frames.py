"""`frames`: the sampled frames of each clip as images, with exact times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from video_assets.keys import Partition, blob_key, content_id, image_id
from video_assets.settings import Settings
from video_assets.stages.extraction import SUFFIX, write_frames
from video_assets.stages.images import read_image_bytes
from video_assets.stages.items import Item, Outcome, Report, Row, failed_row, run_stage
from video_assets.stages.windows import later, seconds_into_source
from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store, split_uri
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import FILTERED, FRAMES, OK
from video_assets.video.crop import Crop, parse_crop
from video_assets.video.errors import ConcealedErrors, DecodeError, MediaError
from video_assets.video.filters import FrameFilters
from video_assets.video.sampling import EverySeconds, Scenes, parse_policy
from video_assets.video.scenes import require_scene_detection

CODE_VERSION = "3"
"""Raised when the same clip and parameters would give other frames, images or rows."""


@dataclass(frozen=True, slots=True)
class FramesTask:
    """One clip, how it is sampled and written, and where its images go."""

    clip_uri: str
    clip_etag: str | None
    label: str
    sampling: str
    image_format: Literal["jpeg", "png"]
    quality: int
    longest_side: int | None
    filters: FrameFilters
    crop: Crop | None
    packing: str
    item_id: str
    store_uri: str
    key: str
    row: Mapping[str, Any]


def recipe(settings: Settings) -> Recipe:
    """What decides the table besides the clips: what `_parameters` says, in words for people."""
    policy = parse_policy(settings.frames_sampling)
    words = {
        "sampling": f"every_s={policy.delta}" if isinstance(policy, EverySeconds) else settings.frames_sampling,
        "format": settings.frames_format,
        "quality": settings.frames_quality if settings.frames_format == "jpeg" else None,
        "longest_side": settings.frames_longest_side,
        **asdict(_filters(settings)),
        "crop": settings.frames_crop,
        "packing": settings.frames_packing,
    }
    return Recipe(CODE_VERSION, {name: str(value) for name, value in words.items() if value is not None})


def build_frames(
    partition: Partition,
    clips: Callable[[], pa.Table],
    *,
    tables: TableStore,
    settings: Settings,
    report: Report,
) -> Fold:
    """One item for each ok clip.

    Raises:
        SceneDetectionUnavailable: see `require_sampling`.
    """
    require_sampling(settings)
    return run_stage(
        FRAMES,
        partition,
        clips,
        frame_items(partition, settings),
        make_frames,
        recipe=recipe(settings),
        tables=tables,
        settings=settings,
        report=report,
    )


def frame_items(partition: Partition, settings: Settings) -> Callable[[pa.Table], Iterator[Item]]:
    """From rows of `clips` to the items that `make_frames` works on."""
    store = open_store(settings.store)

    def items(rows: pa.Table) -> Iterator[Item]:
        return (_item(row, partition, store, settings) for row in rows.to_pylist() if row["status"] == OK)

    return items


def require_sampling(settings: Settings) -> None:
    """Raises SceneDetectionUnavailable where scenes are to be found without the extra that finds them."""
    if isinstance(parse_policy(settings.frames_sampling), Scenes):
        require_scene_detection()


def _item(clip: Row, partition: Partition, store: ObjectStore, settings: Settings) -> Item:
    item_id = content_id("frames", clip["clip_id"], _parameters(settings), CODE_VERSION)
    identity = {name: clip[name] for name in ("clip_id", "video_path", "camera")}
    key = blob_key(FRAMES.name, partition, item_id, "")
    referenced = clip["clip_uri"] == clip["video_path"]
    task = FramesTask(
        clip_uri=clip["clip_uri"],
        clip_etag=clip["source_etag"] if referenced else None,
        label=clip["video_path"],
        sampling=settings.frames_sampling,
        image_format=settings.frames_format,
        quality=settings.frames_quality,
        longest_side=settings.frames_longest_side,
        filters=_filters(settings),
        crop=_crop(settings),
        packing=settings.packing,
        item_id=item_id,
        store_uri=store.uri,
        key=key,
        row=identity,
    )

    source_start = later(clip["start_time"], -seconds_into_source(clip))

    def facts(frame: Row) -> Row:
        if frame["image_id"] is None:
            return identity
        captured = later(source_start, seconds_into_source(clip, frame))
        if frame["image_format"] is None:
            return {**identity, "captured_at": captured}
        path = ".tar" if frame["image_offset"] is not None else f"/{frame['image_id']}{SUFFIX[frame['image_format']]}"
        return {**identity, "captured_at": captured, "image_url": store.uri_of(key + path)}

    return Item(item_id, task, identity, facts)


def _parameters(settings: Settings) -> dict[str, str]:
    """What decides the frames of a clip. Two ways to write one sampling are one."""
    return {
        "sampling": repr(parse_policy(settings.frames_sampling)),
        "format": settings.frames_format,
        "quality": str(settings.frames_quality) if settings.frames_format == "jpeg" else "",
        "longest_side": str(settings.frames_longest_side),
        "filters": repr(_filters(settings)),
        "crop": repr(_crop(settings)),
        "packing": settings.packing,
    }


def _filters(settings: Settings) -> FrameFilters:
    return FrameFilters(
        settings.frames_min_sharpness,
        settings.frames_min_brightness,
        settings.frames_min_phash_distance,
        settings.frames_damaged,
    )


def _crop(settings: Settings) -> Crop | None:
    return None if settings.frames_crop is None else parse_crop(settings.frames_crop)


def make_frames(task: FramesTask) -> Outcome:
    """Samples a clip. A damaged one keeps its good frames, and a failed row says what is missing."""
    from video_assets.video.extract import FrameExtraction
    from video_assets.video.image import ImageOptions

    options = ImageOptions(task.image_format, task.quality, task.longest_side)
    store = open_store(task.store_uri)
    root, key = split_uri(task.clip_uri)
    rows: list[dict[str, Any]] = []
    bytes_read = bytes_total = 0
    decode_errors: int | None = None
    try:
        with open_store(root).open(key, etag=task.clip_etag) as media:
            extraction = FrameExtraction(
                media,
                parse_policy(task.sampling),
                options,
                filters=task.filters,
                crop=task.crop,
                label=task.label,
            )
            rows = write_frames(
                extraction,
                store,
                name=lambda number: image_id(task.item_id, number),
                image_format=task.image_format,
                shard_key=task.key + ".tar" if task.packing == "shards" else None,
                folder=task.key + "/",
            )
            problem: MediaError | None = extraction.report.problem
            bytes_read, bytes_total = extraction.report.bytes_read, extraction.report.bytes_total
            decode_errors = extraction.report.decode_errors
    except MediaError as error:
        problem = error
    if problem is None and not rows:
        problem = DecodeError(task.label, "has no frame to sample")
    rows = [{**task.row, **row, "image_id": image_id(task.item_id, row["frame_idx"])} for row in rows]
    failed = problem is not None and not _tolerated(problem, task.filters)
    if problem is not None:
        row = {**failed_row(dict(task.row), problem.stage, str(problem)), "decode_errors": decode_errors}
        rows.append(row if failed else {**row, "status": FILTERED, "error_stage": "damaged"})
    size = sum(row.get("image_size_bytes") or 0 for row in rows)
    retryable = problem is not None and problem.retryable
    return Outcome(FRAMES.rows(rows), failed, retryable, size, bytes_read, bytes_total)


def _tolerated(problem: MediaError, filters: FrameFilters) -> bool:
    """Whether nothing is wrong with a clip but frames that are filtered where they were sampled."""
    return isinstance(problem, ConcealedErrors) and filters.damaged == "filter"


def draw_contact_sheet(tables: Mapping[Partition, pa.Table]) -> bytes | None:
    """Frames picked evenly from the ok rows, as one JPEG of at most 50 kB; None where there are none.

    Captions name vehicle and date where the sheet spans several.
    """
    from video_assets.video.contact_sheet import MAX_FRAMES, contact_sheet

    named = {partition: _caption_start(partition, tables) for partition in tables}
    rows = [
        {**row, "caption_start": named[partition]}
        for partition, table in tables.items()
        for row in table.to_pylist()
        if row["status"] == OK
    ]
    if not rows:
        return None
    picked = _evenly(rows, MAX_FRAMES)
    return contact_sheet([(_caption(row), read_image_bytes(row)) for row in picked])


def _evenly(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    if len(rows) <= count:
        return rows
    return [rows[round(n * (len(rows) - 1) / (count - 1))] for n in range(count)]


def _caption_start(partition: Partition, all_partitions: Iterable[Partition]) -> str:
    """A line with what of the partition tells it apart from the others on the sheet; empty for a sheet of one."""
    vehicles, dates = zip(*((other.vehicle, other.date) for other in all_partitions), strict=True)
    parts = [str(partition.vehicle)] * (len(set(vehicles)) > 1) + [partition.date] * (len(set(dates)) > 1)
    return " ".join(parts) + "\n" * bool(parts)


def _caption(row: dict[str, Any]) -> str:
    when = f"{row['captured_at']:%H:%M:%S.%f}"[:-5] if row["captured_at"] else f"{row['pts_s']:.1f} s"
    return str(row["caption_start"]) + " ".join(part for part in (row["camera"], when) if part)

"""`clips`: the bytes of each source video in hand, whole or as fixed windows, checksummed and probed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from video_assets.keys import Partition, blob_key, clip_id, window_id
from video_assets.settings import Settings
from video_assets.stages.bags import BAG_VERSION, SUFFIX, Bagging, write_bag
from video_assets.stages.items import Item, Outcome, Report, Row, failed_row, run_stage
from video_assets.stages.probe import source_columns, stream_columns, truth_columns
from video_assets.stages.windows import Windowing, later, seconds_into_source, write_windows
from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store, split_uri
from video_assets.storage.stream_keys import split_stream_key
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import CLIPS, OK
from video_assets.video.errors import MediaError, NotAVideo
from video_assets.video.sampling import exact
from video_assets.video.windows import CannotCut, fits_one_window

CODE_VERSION = "2"
"""Raised when the same source would become another clip or row."""


@dataclass(frozen=True, slots=True)
class ClipTask:
    """One version of a source video, and where its copy or its windows go (None: it stays where it is).

    `bagging` is None where the source is a video and no bag.
    """

    video_path: str
    source_uri: str
    source_key: str
    etag: str
    size_bytes: int
    store_uri: str
    copy_key: str | None
    windowing: Windowing | None
    bagging: Bagging | None
    partition: Partition
    row: Mapping[str, Any]


def recipe(settings: Settings) -> Recipe:
    """What decides the table besides the manifest."""
    parameters = _parameters(settings.clips_mode, _windowing(settings))
    if SUFFIX in settings.video_extensions or settings.has_fleet:
        parameters |= {**_bagging(settings).parameters, "bag_version": BAG_VERSION}
    return Recipe(CODE_VERSION, parameters)


def build_clips(
    partition: Partition,
    manifest: Callable[[], pa.Table],
    *,
    tables: TableStore,
    settings: Settings,
    report: Report,
) -> Fold:
    """One clip for each row of the manifest."""
    return run_stage(
        CLIPS,
        partition,
        manifest,
        clip_items(partition, settings),
        make_clip,
        recipe=recipe(settings),
        tables=tables,
        settings=settings,
        report=report,
    )


def clip_items(partition: Partition, settings: Settings) -> Callable[[pa.Table], Iterator[Item]]:
    """From rows of the manifest to the items that `make_clip` works on."""
    store = open_store(settings.store)

    def items(rows: pa.Table) -> Iterator[Item]:
        source = open_store(settings.source) if len(rows) and settings.source is not None else None
        for row in rows.to_pylist():
            if row["status"] == OK:
                yield _item(row, partition, source, store, settings)

    return items


def _item(row: Row, partition: Partition, source: ObjectStore | None, store: ObjectStore, settings: Settings) -> Item:
    windowing = _windowing(settings)
    suffix = PurePosixPath(row["video_path"]).suffix.lower()
    bagging = _bagging(settings) if suffix == SUFFIX else None
    if bagging is None:
        parameters, code_version = _parameters(settings.clips_mode, windowing), CODE_VERSION
    else:
        parameters, code_version = bagging.parameters, BAG_VERSION
    item_id = clip_id(row["video_path"], row["etag"], parameters, code_version)
    identity = {
        "clip_id": item_id,
        "video_path": row["video_path"],
        "source_etag": row["etag"],
        "camera": row["camera"],
        "start_time": row["start_time"],
    }
    copied = blob_key(CLIPS.name, partition, item_id, suffix) if settings.clips_mode == "copy" else None
    root, key = _place(row["video_path"], source)
    task = ClipTask(
        video_path=row["video_path"],
        source_uri=root,
        source_key=key,
        etag=row["etag"],
        size_bytes=row["size_bytes"],
        store_uri=store.uri,
        copy_key=copied,
        windowing=windowing,
        bagging=bagging,
        partition=partition,
        row=identity,
    )
    uri = row["video_path"] if copied is None else store.uri_of(copied)

    def facts(made: Row) -> Row:
        if made["topic"] is not None:
            place = blob_key(CLIPS.name, partition, made["clip_id"], ".mp4")
            return {
                **identity,
                "clip_id": made["clip_id"],
                # A camera in the path is what the fleet calls it.
                "camera": row["camera"] or made["camera"],
                "start_time": made["start_time"] or row["start_time"],
                "clip_uri": store.uri_of(place) if made["clip_uri"] else None,
            }
        if made["window"] is None:
            return {**identity, "clip_uri": uri if made["clip_uri"] else None}
        name = window_id(item_id, made["window"])
        place = blob_key(CLIPS.name, partition, name, PurePosixPath(made["clip_uri"]).suffix)
        start = later(row["start_time"], seconds_into_source(made))
        return {**identity, "clip_id": name, "start_time": start, "clip_uri": store.uri_of(place)}

    return Item(item_id, task, identity, facts)


def _place(video_path: str, source: ObjectStore | None) -> tuple[str, str]:
    """The URI of a store and the key in it: of the source, or where a row of a list or of an earlier source says.

    A video that was uploaded in chunks has a store of its own.
    """
    if source is not None and (key := source.key_of(video_path)) is not None:
        stream = split_stream_key(key)
        return (source.uri, key) if stream is None else (source.uri_of(stream[0]), stream[1])
    return split_uri(video_path)


def _windowing(settings: Settings) -> Windowing | None:
    return None if settings.clip_seconds is None else Windowing(exact(settings.clip_seconds), settings.clip_cut)


def _bagging(settings: Settings) -> Bagging:
    return Bagging(settings.bag_camera, settings.bag_crf)


def _parameters(mode: str, windowing: Windowing | None) -> dict[str, str]:
    """What decides the clips of a video."""
    if windowing is None:
        return {"mode": mode}
    return {"mode": mode, "clip_seconds": str(windowing.seconds), "cut": windowing.cut}


def make_clip(task: ClipTask) -> Outcome:
    """Copies (or finds) the video and probes it, or cuts it. One that cannot be cut is copied whole."""
    if task.bagging is not None:
        return _bag(task, task.bagging)
    if task.windowing is None:
        return _whole(task)
    try:
        return _windows(task, task.windowing) or _whole(task)
    except CannotCut as reason:
        return _whole(task, uncut_reason=reason.cause)


def _bag(task: ClipTask, bagging: Bagging) -> Outcome:
    """A clip for each image topic of the bag."""
    item_id = task.row["clip_id"]
    with open_store(task.source_uri).open(task.source_key, etag=task.etag) as media:
        made, problem = write_bag(
            media,
            bagging,
            open_store(task.store_uri),
            key=lambda number, suffix: blob_key(CLIPS.name, task.partition, window_id(item_id, number), suffix),
            label=task.video_path,
        )
    rows = [{**task.row, **row, "clip_id": window_id(item_id, number)} for number, row in made]
    if problem is not None:
        rows.append(failed_row(dict(task.row), problem.stage, str(problem)))
        return Outcome(CLIPS.rows(rows), failed=True, retryable=problem.retryable, size_bytes=task.size_bytes)
    return Outcome(CLIPS.rows(rows), size_bytes=task.size_bytes)


def _windows(task: ClipTask, windowing: Windowing) -> Outcome | None:
    """The windows of the video, a damaged one's up to the damage; None where it is no longer than one, or no video."""
    from video_assets.video.index import index_video

    item_id = task.row["clip_id"]
    with open_store(task.source_uri).open(task.source_key, etag=task.etag) as media:
        try:
            index = index_video(media, label=task.video_path)
        except MediaError:
            return None
        if fits_one_window(index, windowing.seconds):
            return None
        rows, problem = write_windows(
            media,
            index,
            windowing,
            open_store(task.store_uri),
            key=lambda window, suffix: blob_key(CLIPS.name, task.partition, window_id(item_id, window), suffix),
            label=task.video_path,
        )
    rows = [{**task.row, **row, "clip_id": window_id(item_id, row["window"])} for row in rows]
    if problem is None:
        return Outcome(CLIPS.rows(rows), size_bytes=task.size_bytes)
    rows.append(failed_row(dict(task.row), problem.stage, str(problem)))
    return Outcome(CLIPS.rows(rows), failed=True, retryable=problem.retryable, size_bytes=task.size_bytes)


def _whole(task: ClipTask, *, uncut_reason: str | None = None) -> Outcome:
    """The video as it is. A damaged one keeps its bytes and becomes a failed row."""
    from video_assets.video.index import index_video

    source, key = open_store(task.source_uri), task.source_key
    row = {**task.row, "size_bytes": task.size_bytes, "uncut_reason": uncut_reason}
    if task.copy_key is None:
        store, stored_key, etag = source, key, task.etag
        row["clip_uri"] = task.video_path
    else:
        store, stored_key, etag = open_store(task.store_uri), task.copy_key, None
        row["checksum"] = _copy(source, key, store, task)
        row["clip_uri"] = store.uri_of(task.copy_key)
    try:
        with store.open(stored_key, etag=etag) as media:
            index = index_video(media, label=task.video_path)
    except MediaError as error:
        if isinstance(error, NotAVideo) and task.copy_key is not None:
            # Who may write links into the source must not get other files of this machine copied.
            store.delete(task.copy_key)
            row["clip_uri"] = row["checksum"] = None
        return Outcome(CLIPS.rows([failed_row(row, error.stage, str(error))]), failed=True, retryable=error.retryable)
    row |= {**stream_columns(index), **source_columns(index), **truth_columns(index, last=True)}
    return Outcome(CLIPS.rows([{**row, "duration_s": index.duration_s, "status": OK}]), size_bytes=task.size_bytes)


def _copy(source: ObjectStore, key: str, store: ObjectStore, task: ClipTask) -> str:
    """Copies the version the manifest named to its place and returns its checksum; publishes all of it or nothing."""
    digest = hashlib.sha256()
    assert task.copy_key is not None
    store.put_from(task.copy_key, source, key, etag=task.etag, size_bytes=task.size_bytes, digests=[digest])
    return f"sha256:{digest.hexdigest()}"

"""`clips`: the bytes of each source video in hand, whole, checksummed and probed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from video_assets.keys import Partition, blob_key, clip_id
from video_assets.settings import Settings
from video_assets.stages.items import Item, Outcome, Report, Row, failed_row, run_stage
from video_assets.storage.object_store import ObjectStore, StoreError
from video_assets.storage.registry import open_store, split_uri
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, OK
from video_assets.video.errors import MediaError, NotAVideo

CODE_VERSION = "2"
"""Raised when the same source would become another clip or row."""


class SizeMismatch(StoreError):
    """The bytes read are not as many as the manifest says."""

    stage = "copy"


@dataclass(frozen=True, slots=True)
class ClipTask:
    """One version of a source video, and where its copy goes (None: it stays where it is)."""

    video_path: str
    source_uri: str
    source_key: str
    etag: str
    size_bytes: int
    store_uri: str
    copy_key: str | None
    row: Mapping[str, Any]


def build_clips(
    partition: Partition,
    manifest: Callable[[], pa.Table],
    *,
    tables: ParquetTables,
    settings: Settings,
    report: Report,
) -> Fold:
    """One clip for each row of the manifest."""

    def items(rows: pa.Table) -> Iterator[Item]:
        source = open_store(settings.source_uri()) if len(rows) else None
        for row in rows.to_pylist():
            if row["status"] == OK and source is not None:
                yield _item(row, partition, source, tables.store, settings)

    return run_stage(CLIPS, partition, manifest, items, make_clip, tables=tables, settings=settings, report=report)


def _item(row: Row, partition: Partition, source: ObjectStore, store: ObjectStore, settings: Settings) -> Item:
    item_id = clip_id(row["video_path"], row["etag"], {"mode": settings.clips_mode}, CODE_VERSION)
    identity = {
        "clip_id": item_id,
        "video_path": row["video_path"],
        "source_etag": row["etag"],
        "camera": row["camera"],
        "start_time": row["start_time"],
    }
    suffix = PurePosixPath(row["video_path"]).suffix.lower()
    copied = blob_key(CLIPS.name, partition, item_id, suffix) if settings.clips_mode == "copy" else None
    key = source.key_of(row["video_path"])
    # A row of an earlier source is still read where it says.
    root, key = split_uri(row["video_path"]) if key is None else (source.uri, key)
    task = ClipTask(row["video_path"], root, key, row["etag"], row["size_bytes"], store.uri, copied, identity)
    uri = row["video_path"] if copied is None else store.uri_of(copied)
    return Item(item_id, task, identity, lambda made: {**identity, "clip_uri": uri if made["clip_uri"] else None})


def make_clip(task: ClipTask) -> Outcome:
    """Copies (or finds) the video and probes it. A damaged one keeps its bytes and becomes a failed row."""
    from video_assets.video.index import index_video

    source, key = open_store(task.source_uri), task.source_key
    row = {**task.row, "size_bytes": task.size_bytes}
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
    return Outcome(CLIPS.rows([{**row, **_probed(index), "status": OK}]), size_bytes=task.size_bytes)


def _copy(source: ObjectStore, key: str, store: ObjectStore, task: ClipTask) -> str:
    """Streams the version the manifest named to its place and returns its checksum; publishes all of it or nothing."""
    digest = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        size = 0
        for chunk in source.stream(key, etag=task.etag):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        if size != task.size_bytes:
            cause = f"{size} bytes were read, and the manifest says {task.size_bytes}"
            raise SizeMismatch(task.video_path, cause, "Materialize video_manifest again.")

    assert task.copy_key is not None
    store.put(task.copy_key, chunks())
    return f"sha256:{digest.hexdigest()}"


def _probed(index: Any) -> dict[str, Any]:
    return {
        "duration_s": index.duration_s,
        "container": index.container,
        "video_streams": index.video_streams,
        "codec": index.codec,
        "width": index.width,
        "height": index.height,
        "rotation": index.rotation,
        "frame_count": index.frame_count,
        "average_rate": float(index.average_rate) if index.average_rate else None,
    }

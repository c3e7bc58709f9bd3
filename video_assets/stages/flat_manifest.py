"""The manifest as one table of three columns in MaxCompute, refreshed as a whole: what other jobs already read.

For a DataWorks PyODPS 3 node or a notebook, which has a handle `o`:

    from video_assets.stages.flat_manifest import build_manifest
    build_manifest(o, "oss://oss-cn-hangzhou-internal.aliyuncs.com/fleet/uploads", "video_input")

Neither Dagster nor a deployment's store is needed. Of two that run at a time the last to end wins; readers see the
whole of either.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from video_assets.errors import VideoAssetsError
from video_assets.plural import counted
from video_assets.settings import Settings
from video_assets.sources.listing import skip_reason
from video_assets.stages.manifest_rows import last_modified_text
from video_assets.storage.object_store import ObjectInfo, ObjectStore
from video_assets.storage.registry import open_store
from video_assets.table_store.odps import make_table
from video_assets.table_store.odps_errors import in_words
from video_assets.table_store.odps_tunnel import BATCH_ROWS, upload
from video_assets.tables import VIDEO_MANIFEST, Table
from video_assets.work.progress import Progress

FLAT_MANIFEST = Table(
    "flat_manifest",
    "One row per source video, of every vehicle and day.",
    ("video_path",),
    VIDEO_MANIFEST.columns[:3],
    partitioned_by=(),
)


class NothingListed(VideoAssetsError):
    """A source without a single video. An empty table would tell every reader that the fleet is gone."""


@dataclass(frozen=True, slots=True)
class FlatManifest:
    """What was written, and what was passed over, by reason."""

    table: str
    videos: int
    size_bytes: int
    skipped: dict[str, int]
    seconds: float


def build_manifest(
    o: Any,
    source: str,
    table: str,
    *,
    lifecycle: int = Settings.model_fields["manifest_lifecycle"].default,
    extensions: tuple[str, ...] = Settings.model_fields["video_extensions"].default,
    settle_s: float = Settings.model_fields["settle_s"].default,
    objects: Iterable[ObjectInfo] | None = None,
    report: Callable[[str], None] = print,
) -> FlatManifest:
    """Replaces the rows of a MaxCompute table with one for each video of a source. Memory stays bounded.

    Args:
        o: the handle (`odps.ODPS`) to write with.
        source: URI of the store that holds the videos. Nothing is written to it.
        table: the table's name; it is made if it is missing.
        lifecycle: days after which MaxCompute takes rows away that were not written again, for a table made here.
        extensions: what counts as video, in lower case.
        settle_s: objects younger than this many seconds are left out.
        objects: what the source holds, where that is known already; else it is listed.
        report: takes a line of progress.

    Raises:
        NothingListed: the source has no video; the table is left as it is.
        SchemaMismatch: the table is there with other columns, or is a view.
        OdpsError, StoreError.
    """
    begun = time.monotonic()
    store = open_store(source)
    progress = Progress(report, unit="videos")
    skipped: Counter[str] = Counter()
    infos = store.list() if objects is None else objects
    videos = _videos(infos, extensions, settle_s, skipped)
    batches = _batches(store, videos, progress)
    first = next(batches, None)
    if first is None:
        passed = f" (passed over: {_told(skipped)})" if skipped else ""
        cause = f"holds no video, so that {table} was left as it is{passed}"
        raise NothingListed(store.uri, cause, "Look at the prefix, and at VIDEO_EXTENSIONS.")
    with in_words(f"ODPS table {table}", o):
        make_table(o, table, FLAT_MANIFEST, lifecycle)
        upload(o, table, None, chain([first], batches), first.schema)
    seconds = time.monotonic() - begun
    result = FlatManifest(table, progress.items, progress.size_bytes, dict(skipped), round(seconds, 3))
    report(
        f"{counted(result.videos, 'video')}, {result.size_bytes} bytes, in {table}; skipped {_told(skipped) or 0}; "
        f"{seconds:.1f} s"
    )
    return result


def _videos(
    infos: Iterable[ObjectInfo], extensions: tuple[str, ...], settle_s: float, skipped: Counter[str]
) -> Iterator[ObjectInfo]:
    now = datetime.now(UTC)
    for info in infos:
        reason = skip_reason(info, extensions, settle_s, now)
        if reason is None:
            yield info
        else:
            skipped[reason] += 1


def _batches(store: ObjectStore, videos: Iterator[ObjectInfo], progress: Progress) -> Iterator[pa.RecordBatch]:
    while listed := list(islice(videos, BATCH_ROWS)):
        for info in listed:
            progress.add(size_bytes=info.size_bytes)
        columns = [
            pa.array([store.uri_of(info.key) for info in listed], pa.string()),
            pa.array([info.size_bytes for info in listed], pa.int64()),
            pa.array([last_modified_text(info.last_modified) for info in listed], pa.string()),
        ]
        yield pa.RecordBatch.from_arrays(columns, names=FLAT_MANIFEST.schema.names)


def _told(skipped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))

"""A source that changes at random while the upload sensor looks at it, with everything going wrong that may.

The sensor is the code location's own, evaluated on a Dagster instance of its own; what it asks for is run by the real
manifest stage, some time later, in any order. Of the daemon there are its rules: a run key runs once, and cursor,
events and runs of a tick that dies are kept or lost as Dagster does it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, StepMaterializationData

from video_assets.defs import sensors
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.listing import Listing
from video_assets.sources.source_objects import StoreObjects
from video_assets.sources.upload_scan import scan as upload_scan
from video_assets.sources.upload_scan import window as upload_window
from video_assets.sources.upload_scan.cursor import UploadCursor
from video_assets.sources.upload_scan.sweep import SweepPosition
from video_assets.stages import manifest, unmatched, upload_watch
from video_assets.stages.manifest import build_manifest
from video_assets.stages.unmatched import build_unmatched
from video_assets.stages.upload_watch import Limits
from video_assets.storage.object_store import CommonPrefix, ObjectInfo, StoreUnavailable
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import PartitionNotFound
from video_assets.tables import UNMATCHED, VIDEO_MANIFEST

TEMPLATES = {
    "{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}": "{v}/{d:%Y-%m-%d}/{c}/{t}.mp4",
    "{date:%Y/%m/%d}/{vehicle}/{camera}-{start:%H%M%S}{ext}": "{d:%Y/%m/%d}/{v}/{c}-{t}.mp4",
    "{camera}/{date:%d-%m-%Y}/{vehicle}_{start:%H%M%S}{ext}": "{c}/{d:%d-%m-%Y}/{v}_{t}.mp4",
    "{vehicle}/{start:%Y%m%d%H%M%S}_{camera}{ext}": "{v}/{d:%Y%m%d}{t}_{c}.mp4",
    "{vehicle}/{camera}_{start:%Y%m%d%H%M%S}{ext}": "{v}/{c}_{d:%Y%m%d}{t}.mp4",
    "{camera}_{vehicle}_{start:%Y%m%d%H%M%S}{ext}": "{c}_{v}_{d:%Y%m%d}{t}.mp4",
}
UNMATCHED_KEYS = ("stray.mp4", "bad|id/2026-01-05/front/083000.mp4", "veh-1/notes.mp4", "x/y/z/w/v.mp4")
SETTLE_S = 60


class Crash(Exception):
    """The sensor's process dies."""


class Source(Protocol):
    """Where uploads are put: each version of a key can be put again, as the same version."""

    uri: str

    def put(self, key: str, version: int, at: datetime) -> None: ...

    def empty(self, key: str) -> None: ...

    def delete(self, key: str) -> None: ...


@dataclass
class FolderSource:
    """A folder; a version put again is the same file, and so has the same etag."""

    root: Path

    def __post_init__(self) -> None:
        for name in ("uploads", "versions"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.uri = (self.root / "uploads").as_uri()

    def put(self, key: str, version: int, at: datetime) -> None:
        kept = self.root / "versions" / f"{version}-{key.replace('/', '+')}"
        if not kept.exists():
            kept.write_bytes(b"v" * (version + 1))
            os.utime(kept, (at.timestamp(), at.timestamp()))
        path = self.root / "uploads" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        os.link(kept, part)
        # A rename onto another name of the same file does nothing, and leaves both.
        path.unlink(missing_ok=True)
        part.rename(path)

    def empty(self, key: str) -> None:
        self.delete(key)
        (self.root / "uploads" / key).touch()

    def delete(self, key: str) -> None:
        (self.root / "uploads" / key).unlink()


@dataclass
class WholeSeconds:
    """A client whose listings tell times in whole seconds, as S3's do; the test server's have milliseconds."""

    client: Any

    def get_paginator(self, name: str) -> WholeSeconds:
        return WholeSeconds(self.client.get_paginator(name))

    def paginate(self, **arguments: Any) -> Iterator[Any]:
        for page in self.client.paginate(**arguments):
            for one in page.get("Contents", []):
                one["LastModified"] = one["LastModified"].replace(microsecond=0)
            yield page


@dataclass
class BucketSource:
    """A prefix of a bucket; the same bytes have the same etag."""

    client: Any
    bucket: str
    prefix: str

    def __post_init__(self) -> None:
        self.uri = f"s3://{self.bucket}/{self.prefix}"
        self.seen_by_get_objects: set[tuple[str, str]] = set()
        self._newest: datetime | None = None

    def put(self, key: str, version: int, at: datetime) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=b"v" * (version + 1))

    def empty(self, key: str) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=b"")

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")

    def ask_get_objects(self) -> None:
        """What a sensor after dagster-aws' documentation sees: everything later than the latest that it has seen."""
        from dagster_aws.s3.sensor import get_objects

        client = WholeSeconds(self.client)
        found = get_objects(self.bucket, f"{self.prefix}/", since_last_modified=self._newest, client=client)
        for one in found:
            self.seen_by_get_objects.add((one["Key"].removeprefix(f"{self.prefix}/"), one["ETag"].strip('"')))
            self._newest = max(self._newest or one["LastModified"], one["LastModified"])


@dataclass
class FaultyStore:
    """A store whose listings break off after so many entries, as often as it is asked."""

    store: Any
    entries: int
    error: Exception

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        yield from self._cut(self.store.list(prefix, start_after=start_after))

    def list_level(
        self, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        yield from self._cut(self.store.list_level(prefix, delimiter=delimiter, start_after=start_after))

    def _cut(self, found: Iterator[Any]) -> Iterator[Any]:
        for one in found:
            self.entries -= 1
            if self.entries < 0:
                raise self.error
            yield one


@dataclass
class Schedule:
    """One random history of a source, and what came of it."""

    seed: int
    source: Source
    root: Path
    monkeypatch: pytest.MonkeyPatch
    settles: bool = True
    live: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    launched: list[str] = field(default_factory=list)
    has_lost_state: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        template = self.random.choice(list(TEMPLATES))
        self.key_format = TEMPLATES[template]
        self.settings = Settings(
            source=self.source.uri,
            store=str(self.root / "store"),
            index=str(self.root / "index"),
            path_template=template,
            lookback_days=self.random.choice((1, 2, 3)),
            settle_s=SETTLE_S if self.settles else 0,
            workers=1,
        )
        self.tables = ParquetTables(open_store(self.settings.store, create=True))
        self.clock = timedelta(0)
        self.fault: Exception | None = None
        self.cursor: str | None = None
        self.queue: list[Any] = []
        self.requested: list[str] = []
        self.instance = dg.DagsterInstance.ephemeral()
        self._patch()

    def _patch(self) -> None:
        """Small steps, a clock that the schedule sets, and faults."""

        def listing(settings: Settings, **options: Any) -> Listing:
            objects = StoreObjects(open_store(settings.source_uri()))
            return Listing(objects, settings.template(), settings.settle_s, settings.start_date, now=self.now)

        def faulty(settings: Settings, **options: Any) -> Listing:
            found = listing(settings)
            if self.fault is not None:
                store: Any = FaultyStore(found.listed_store, self.random.randrange(12), self.fault)
                found.objects = StoreObjects(store)
            return found

        def limits() -> Limits:
            return Limits(sweep_pages=self.random.choice((1, 3, 5, 10, 1000)), runs=self.random.choice((1, 2, 50)))

        patches: list[tuple[object, str, object]] = [
            (sensors, "deployment", lambda: (self.settings, self.tables)),
            (sensors, "Limits", limits),
            (manifest, "open_source", listing),
            (unmatched, "open_source", listing),
            (upload_watch, "open_source", faulty),
            (upload_scan, "PAGE_KEYS", 2),
            (upload_window, "PAGES", 12),
            (upload_window, "STRETCHES", 2),
            (upload_window, "STEPS", 2),
        ]
        for owner, name, value in patches:
            self.monkeypatch.setattr(owner, name, value)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock

    def play(self, steps: int = 10) -> None:
        """Changes, ticks and runs in turn; then ticks until nothing is left to do."""
        for _ in range(steps):
            self._change(self.random.randrange(4))
            if isinstance(self.source, BucketSource):
                # In the middle of the changes, as any poll may be; often in their second.
                self.source.ask_get_objects()
            self._change(self.random.randrange(3))
            self._tick_with_faults()
            for _ in range(self.random.randrange(4)):
                self._run_one()
            if self.random.random() < 0.3:
                self._somebody_makes()
            self.clock += timedelta(seconds=self.random.choice((1, 30, 70)))
        self.clock += timedelta(seconds=2 * SETTLE_S)
        self._come_to_rest()

    def _change(self, times: int) -> None:
        for _ in range(times):
            changes = (self._upload, self._upload, self._overwrite, self._restore, self._delete, self._empty)
            self.random.choice(changes)()

    def _come_to_rest(self) -> None:
        self._tick()
        last = UploadCursor.parse(self.cursor).sweeps
        for _ in range(400):
            launched = len(self.requested)
            self._tick()
            while self.queue:
                self._run_one()
            cursor = UploadCursor.parse(self.cursor)
            if len(self.requested) > launched:
                last = cursor.sweeps
            is_over = cursor.position == SweepPosition() and not cursor.unfinished
            # A sweep that begins and ends after the last change has seen all there is; and one more, what runs made.
            if is_over and cursor.sweeps >= last + 2 and not self._waiting():
                return
        raise AssertionError(f"seed {self.seed}: it never comes to rest")

    def _waiting(self) -> bool:
        return " for a run" in self.text

    def _tick_with_faults(self) -> None:
        what = self.random.randrange(12)
        if what == 0:
            self.fault = StoreUnavailable(self.source.uri, "is away")
        elif what == 1:
            self.fault = Crash()
        elif what == 2:
            self._tick(keeps=self.random.choice(((), ("events",), ("events", "runs"))))
            return
        elif what == 3 and self.random.random() < 0.3:
            self.cursor, self.has_lost_state = None, True
        elif what == 4 and self.random.random() < 0.3:
            for info in list(self.tables.store.list("uploads_seen/")):
                self.tables.store.delete(info.key)
            self.has_lost_state = True
        try:
            self._tick()
        except Crash:
            pass
        finally:
            self.fault = None

    def _tick(self, keeps: tuple[str, ...] = ("events", "runs", "cursor")) -> None:
        result: Any = sensors.upload_sensor(dg.build_sensor_context(instance=self.instance, cursor=self.cursor))
        if isinstance(result, dg.SkipReason):
            self.text = result.skip_message or ""
            return
        self.text = result.skip_reason.skip_message if result.skip_reason else " for a run"
        if "events" in keeps:
            for event in result.asset_events:
                self.instance.report_runless_asset_event(event)
        if "runs" in keeps:
            for request in result.run_requests or []:
                if request.run_key not in self.requested:
                    self.requested.append(request.run_key)
                    self.queue.append(request)
        if "cursor" in keeps:
            self.cursor = result.cursor

    def _run_one(self) -> None:
        """One of the runs that wait: the manifest of its partition, as it is by then."""
        if not self.queue:
            return
        request = self.queue.pop(self.random.randrange(len(self.queue)))
        if request.partition_key is None:
            self.tables.commit(build_unmatched(tables=self.tables, settings=self.settings).fold)
            return
        self._make(Partition.from_key(str(request.partition_key)), {"dagster/run_key": request.run_key})
        self.launched.append(request.run_key)

    def _somebody_makes(self) -> None:
        """A backfill, say: the sensor did not ask for it, and what it sees may be gone before any look."""
        if keys := sorted(key for key in self.versions if self._fits(key)):
            self._make(self.settings.template().match(self.random.choice(keys), self.now).partition, {})

    def _make(self, partition: Partition, tags: dict[str, str]) -> None:
        self.tables.commit(build_manifest(partition, tables=self.tables, settings=self.settings).fold)
        run = dg.DagsterRun("chain", tags=tags, status=dg.DagsterRunStatus.SUCCESS)
        self.instance.add_run(run)
        made = dg.AssetMaterialization(VIDEO_MANIFEST.name, partition=partition.key)
        event = StepMaterializationData(made)
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION.value
        self.instance.report_dagster_event(DagsterEvent(kind, "chain", event_specific_data=event), run.run_id)

    def _upload(self) -> None:
        day = self.now.date() - timedelta(days=self.random.choice((0, 0, 0, 1, 2, 3, 30, 200)))
        key = self.key_format.format(
            v=f"veh-{self.random.randrange(4)}",
            c=self.random.choice(("front", "rear")),
            d=day,
            t=f"08{self.random.randrange(3):02}00",
        )
        if self.random.random() < 0.1:
            key = self.random.choice(UNMATCHED_KEYS)
        self._put(key, self.versions.get(key, -1) + 1)

    def _overwrite(self) -> None:
        if key := self._any_live():
            self._put(key, self.versions[key] + 1)

    def _restore(self) -> None:
        """Earlier bytes: A → B → A."""
        if (key := self._any_live()) and self.live[key]:
            self._put(key, self.live[key] - 1)

    def _delete(self) -> None:
        if key := self._any_live():
            self.source.delete(key)
            del self.live[key]

    def _empty(self) -> None:
        """An overwrite that went wrong: nothing is left of it, and the key is there."""
        if key := self._any_live():
            self.source.empty(key)
            del self.live[key]

    def _any_live(self) -> str | None:
        return self.random.choice(sorted(self.live)) if self.live else None

    def _put(self, key: str, version: int) -> None:
        self.source.put(key, version, self.now - timedelta(seconds=self.random.choice((0, 3600))))
        self.live[key] = version
        self.versions[key] = max(version, self.versions.get(key, 0))

    def check(self) -> None:
        """Every live object is a row once, with its last etag, and nothing else is; no run was asked for twice."""
        store = open_store(self.source.uri)
        etags = {info.key: info.etag for info in store.list() if info.key.endswith(".mp4") and info.size_bytes}
        assert set(etags) == set(self.live), f"seed {self.seed}: the test's own books"
        rows = [
            (store.key_of(row["video_path"]), row["etag"])
            for partition in self.tables.partitions(VIDEO_MANIFEST)
            for row in self.tables.read(VIDEO_MANIFEST, partition).to_pylist()
            if row["source_deleted_at"] is None
        ]
        unmatched = {key for key in self.live if not self._fits(key)}
        wanted = sorted((key, etag) for key, etag in etags.items() if key not in unmatched)
        assert sorted(rows) == wanted, f"seed {self.seed}: {self.settings.path_template}"
        listed = sorted((store.key_of(row["video_path"]), row["etag"]) for row in self._listed_unmatched())
        assert listed == sorted((key, etags[key]) for key in unmatched), f"seed {self.seed}: unmatched"
        generations = [run_key.rpartition(":")[0] for run_key in self.launched]
        assert len(set(generations)) == len(generations), f"seed {self.seed}: a generation ran twice"

    def _listed_unmatched(self) -> list[Any]:
        try:
            return list(self.tables.read(UNMATCHED, None).to_pylist())
        except PartitionNotFound:
            return []

    def listed(self) -> list[ObjectInfo]:
        """What the source has now."""
        return list(open_store(self.source.uri).list())

    def _fits(self, key: str) -> bool:
        from video_assets.path_template import Unmatched

        try:
            self.settings.template().match(key, self.now)
        except Unmatched:
            return False
        return True

"""Materializing what a source holds, in this process: the same runs and history as from the UI, without a daemon."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from video_assets.defs.jobs import chain_job, fleet_daily_job, fleet_job, unmatched_job
from video_assets.defs.resources import deployment
from video_assets.environment import environment
from video_assets.keys import Partition
from video_assets.sources.partition_scan import PartitionScan
from video_assets.sources.registry import open_source
from video_assets.stages.fleet_windows import newest_partitions
from video_assets.stages.manifest_scan import scan_source
from video_assets.stages.upload_changes import MadeManifest
from video_assets.tables import VIDEO_MANIFEST

RAW_UPLOADS = dg.AssetKey("raw_uploads")
DATA_VERSION_TAG = "dagster/data_version"
RUN_KEY_TAG = "dagster/run_key"
GENERATION_TAG = "video_assets/generation"
"""How often a partition's uploads had changed, as the sensor counts; see `UploadHistory`."""
REPOSITORY = RemoteRepositoryOrigin(
    ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name="video_assets.definitions", attribute="defs"), "video_assets"
    ),
    "__repository__",
)
"""What workspace.yaml names: by it the UI's timeline and list of jobs know whose a run is. The daemon sets it on what
it launches."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run that ended. `errors` are the messages of the steps that failed."""

    what: str
    success: bool
    errors: tuple[str, ...]


def materialize_source(defs: dg.Definitions, begin: Callable[[str], None]) -> Iterator[Ran]:
    """Registers the vehicles of the source, then makes every partition, the days' roll-ups, and `unmatched`.

    A fleet's batch API, where there is one, is asked for the newest day of each of its vehicles.

    Runs are recorded in DAGSTER_HOME. A run that fails is yielded like the others, and the next one is begun.

    Args:
        defs: the code location.
        begin: called with the name of each run before it starts.
    """
    settings, tables = deployment()
    scans = scan_source(open_source(settings, with_files=True), tables) if settings.has_source else {}
    asked = newest_partitions(settings, datetime.now(UTC))
    partitions = sorted({*scans, *asked})
    with _instance() as instance:
        instance.add_dynamic_partitions("vehicle", sorted({str(partition.vehicle) for partition in partitions}))
        report_uploads(instance, scans)
        for partition in partitions:
            begin(partition.key)
            yield _run(defs, instance, (fleet_job if partition in asked else chain_job).name, partition.key)
        for day in sorted({partition.date for partition in partitions}):
            begin(f"fleet_daily {day}")
            yield _run(defs, instance, fleet_daily_job.name, day)
        if settings.has_source:
            begin("unmatched")
            yield _run(defs, instance, unmatched_job.name, None)


def _instance() -> dg.DagsterInstance:
    """The instance of DAGSTER_HOME without capture of output: nothing is printed by these runs, and the helpers that
    Dagster starts for it die of Ctrl-C with tracebacks.
    """
    home = Path(environment()["DAGSTER_HOME"] or "").expanduser()
    no_capture = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides={"compute_logs": no_capture}))


def report_uploads(instance: dg.DagsterInstance, scans: dict[Partition, PartitionScan]) -> int:
    """Records what was seen of `raw_uploads`, where it differs from what was seen last. Returns how many did."""
    event = dg.DagsterEventType.ASSET_MATERIALIZATION
    log = instance.event_log_storage
    seen = log.get_latest_tags_by_partition(RAW_UPLOADS, event, [DATA_VERSION_TAG], [p.key for p in scans])
    changed = [p for p, scan in scans.items() if seen.get(p.key, {}).get(DATA_VERSION_TAG) != scan.fingerprint]
    for partition in changed:
        scan = scans[partition]
        instance.report_runless_asset_event(upload_event(partition.key, scan.fingerprint, scan))
    return len(changed)


def upload_event(
    partition_key: str, fingerprint: str, scan: PartitionScan | None, generation: int = 0
) -> dg.AssetMaterialization:
    """What is reported of `raw_uploads` when a partition's uploads are seen to have changed, or (None) to be gone."""
    return dg.AssetMaterialization(
        RAW_UPLOADS,
        partition=partition_key,
        metadata={"videos": scan.videos if scan else 0, "bytes": scan.size_bytes if scan else 0},
        tags={DATA_VERSION_TAG: fingerprint, **({GENERATION_TAG: str(generation)} if generation else {})},
    )


@dataclass(frozen=True, slots=True)
class UploadHistory:
    """What was reported of `raw_uploads` before, and what runs made: where a sensor's memory is lost, this is not."""

    instance: dg.DagsterInstance

    def made_manifests(self, after: int, limit: int) -> list[MadeManifest]:
        """The first records of runs that made a manifest after this one; of -1, the latest alone."""
        manifests = dg.AssetKey(VIDEO_MANIFEST.name)
        if after < 0:
            found = self.instance.fetch_materializations(manifests, limit=1).records
        else:
            later = dg.AssetRecordsFilter(manifests, after_storage_id=after)
            found = self.instance.fetch_materializations(later, limit=limit, ascending=True).records
        runs = self.instance.get_runs(dg.RunsFilter(run_ids=sorted({one.run_id for one in found}))) if found else ()
        run_keys = {run.run_id: run.tags.get(RUN_KEY_TAG, "") for run in runs}
        return [
            MadeManifest(one.storage_id, one.partition_key, run_keys.get(one.run_id, ""))
            for one in found
            if one.partition_key
        ]

    def partitions(self) -> list[str]:
        """The keys of all partitions that something was ever reported of, or whose manifest was made."""
        manifests = dg.AssetKey(VIDEO_MANIFEST.name)
        found = (self.instance.get_materialized_partitions(key) for key in (RAW_UPLOADS, manifests))
        return sorted(set().union(*found))

    def last(self, partition_keys: list[str]) -> dict[str, tuple[int, str]]:
        """The generation (0 where none was said) and fingerprint reported last, of those that have one."""
        reported = {}
        for key in partition_keys:
            asked = dg.AssetRecordsFilter(RAW_UPLOADS, asset_partitions=[key])
            for record in self.instance.fetch_materializations(asked, limit=1).records:
                said = (record.asset_materialization and record.asset_materialization.tags) or {}
                reported[key] = (int(said.get(GENERATION_TAG, "0")), said.get(DATA_VERSION_TAG, ""))
        return reported

    def has_ended(self, run_key: str) -> bool:
        """Whether a run with this key was launched and is over."""
        mine = dg.RunsFilter(tags={RUN_KEY_TAG: run_key}, statuses=FINISHED_STATUSES)
        return self.instance.get_runs_count(mine) > 0


@contextmanager
def _sigterm_still_ends() -> Iterator[None]:
    """After a run Dagster has SIGTERM do what SIGINT does. A shell starts what a script puts in the background with
    SIGINT ignored; such a process would ignore `kill` from then on.
    """
    before = signal.getsignal(signal.SIGTERM)
    yield
    if before is not None and before != signal.SIG_IGN and signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        signal.signal(signal.SIGTERM, before)


def _run(defs: dg.Definitions, instance: dg.DagsterInstance, job: str, partition_key: str | None) -> Ran:
    with _sigterm_still_ends():
        result = defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            partition_key=partition_key,
            tags={".dagster/repository": REPOSITORY.get_label()},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    if run := instance.get_run_by_id(result.run_id):
        instance.run_storage.replace_job_origin(run, RemoteJobOrigin(REPOSITORY, job))
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    if any(f.error and f.error.cls_name == "DagsterExecutionInterruptedError" for f in failures if f):
        raise KeyboardInterrupt
    errors = tuple(str(f.error.cause.message if f.error and f.error.cause else f.error).strip() for f in failures)
    return Ran(f"{job} {partition_key or ''}".strip(), result.success, errors)

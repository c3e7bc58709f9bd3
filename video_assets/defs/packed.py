"""Packed backfills: many partitions in one run, each succeeding or failing alone.

A run costs some seconds before it does anything; for thousands of small partitions that is most of the time. What a
packed run makes is what the assets make, by the same functions.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from video_assets.defs.assets.clips import make_clips
from video_assets.defs.assets.embeddings import make_embeddings
from video_assets.defs.assets.frames import make_frames
from video_assets.defs.assets.table_asset import RETRIES, RETRY_WAIT_S, Made, Maker, Making, make_one
from video_assets.defs.assets.vector_index import make_vector_index
from video_assets.defs.assets.video_manifest import make_manifest
from video_assets.defs.checks import BLOCKING
from video_assets.defs.event_store import kept_open
from video_assets.defs.launch import DATA_VERSION_TAG
from video_assets.defs.partitions import dates, vehicles
from video_assets.defs.uploads_seen import known_partitions
from video_assets.errors import VideoAssetsError
from video_assets.keys import InvalidId, Partition, check_date
from video_assets.settings import Settings
from video_assets.stages.items import StageStopped
from video_assets.stages.vector_index import opened_index
from video_assets.table_store.table_store import CommitConflict, TableStore
from video_assets.tables import BY_NAME, CHAIN, CLIPS, EMBEDDINGS, FRAMES, MADE_OF, VECTOR_INDEX, VIDEO_MANIFEST

MAKERS: Mapping[str, Maker] = {
    VIDEO_MANIFEST.name: make_manifest,
    CLIPS.name: make_clips,
    FRAMES.name: make_frames,
    EMBEDDINGS.name: make_embeddings,
    VECTOR_INDEX.name: make_vector_index,
}
"""What makes a partition of each asset of the chain, in its order."""

COMMIT_ATTEMPTS = 3
"""Another run may commit a partition meanwhile; what that one left is then read anew."""

SHOWN_FAILURES = 20


class BackfillFault(VideoAssetsError):
    """A packed backfill that cannot be run as it was asked for."""


class PackedBackfill(dg.Config):
    """Which partitions of which assets: by key, or all that there are in a range."""

    assets: list[str] = Field(
        [table.name for table in CHAIN], description="Of the chain; made in its order for each partition."
    )
    partitions: list[str] = Field([], description="Keys such as 2026-01-03|veh-7. Without any, the range counts.")
    first_day: str = Field("", description="YYYY-MM-DD; if empty, the first day that has partitions.")
    last_day: str = Field("", description="YYYY-MM-DD; if empty, today.")
    vehicles: list[str] = Field([], description="Vehicles of the range; if empty, all.")


Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


# A step has one pool: decoding is what a machine is short of first.
@dg.op(name="make_partitions", out={}, pool="decode", description="Makes the partitions one by one.")
def make_partitions(
    context: dg.OpExecutionContext,
    config: PackedBackfill,
    settings: dg.ResourceParam[Settings],
    tables: dg.ResourceParam[TableStore],
) -> Iterator[object]:
    try:
        makers = _makers(config.assets)
        partitions = packed_partitions(config, context.instance, tables)
    except VideoAssetsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    failed: dict[str, str] = {}
    # What takes longer to open than a tiny partition to make stays open.
    indexed = opened_index(settings) if VECTOR_INDEX.name in makers else nullcontext()
    with kept_open(context.instance), indexed as index:
        for number, partition in enumerate(partitions, 1):
            making = Making(partition, settings, tables, context.log, index=index)
            yield from _make_partition(makers, making, failed)
            context.log.info(f"{number} of {len(partitions)} partitions, {len(failed)} failed: {partition.key}")
    if failed:
        raise _failure(failed, len(partitions))


@dg.job(
    name="backfill_packed",
    description="Makes many small partitions in one run. Each is materialized, or named in the run's failure, alone. "
    "Run again, it does only what is missing.",
    # Uploads of today go first.
    tags={"dagster/priority": "-1", "video_assets/backfill": "packed"},
)
def packed_job() -> None:
    make_partitions()


def packed_partitions(config: PackedBackfill, instance: dg.DagsterInstance, tables: TableStore) -> list[Partition]:
    """The partitions that a configuration means, in order; vehicles that Dagster does not know are added.

    Raises:
        InvalidId, BackfillFault: a key is none of ours, or of a day that has no partitions.
    """
    if config.partitions:
        found = sorted({_checked(key) for key in config.partitions}, key=lambda partition: partition.key)
    else:
        days = days_between(config.first_day, config.last_day)
        found = known_partitions(instance, tables, days, config.vehicles)
    instance.add_dynamic_partitions(str(vehicles.name), sorted({str(partition.vehicle) for partition in found}))
    return found


def packed_keys(run_config: Mapping[str, Any]) -> list[str]:
    """The partition keys that a packed run was asked for by name."""
    keys = run_config.get("ops", {}).get(make_partitions.name, {}).get("config", {}).get("partitions", [])
    return [str(key) for key in keys]


def days_between(first: str, last: str) -> list[str]:
    """The days that have partitions, from `first` to `last`; an empty one is no limit. Raises InvalidId."""
    first, last = first and check_date(first), last and check_date(last)
    return [day for day in dates.get_partition_keys() if (first or day) <= day <= (last or day)]


def _checked(key: str) -> Partition:
    partition = Partition.from_key(key)
    if partition.vehicle is None:
        raise InvalidId(f"partition {key!r}", "names no vehicle", "Write DATE|VEHICLE.")
    if not days_between(partition.date, partition.date):
        remedy = "Move VIDEO_ASSETS_START_DATE, or leave it out."
        raise BackfillFault(f"partition {key!r}", "is of a day that has no partitions", remedy)
    return partition


def _makers(assets: Sequence[str]) -> dict[str, Maker]:
    if unknown := set(assets) - MAKERS.keys():
        raise BackfillFault(", ".join(sorted(unknown)), "cannot be packed", f"Choose of {', '.join(MAKERS)}.")
    if not assets:
        raise BackfillFault("assets", "names none", f"Choose of {', '.join(MAKERS)}.")
    return {name: maker for name, maker in MAKERS.items() if name in assets}


def _make_partition(makers: Mapping[str, Maker], making: Making, failed: dict[str, str]) -> Iterator[Event]:
    """Makes a partition of each asset, as far as it goes; one that fails is noted with its reason.

    Raises:
        dg.RetryRequested: nothing can be made now.
    """
    events: list[Event] = []
    key = making.partition.key
    try:
        for name, maker in makers.items():
            made = _make(name, maker, making)
            events += made
            if fault := _blocking_fault(made):
                failed[key] = f"{name}: {fault}"
                break
    except StageStopped as error:
        yield from events
        making.log.warning(f"{error} Trying again in {RETRY_WAIT_S} s; what is done is kept.")
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_WAIT_S) from error
    except Exception as error:
        # Whatever it is, the others are not to suffer for it.
        making.log.exception(f"{key}: {name} failed")
        failed[key] = f"{name}: {error}"
    # All of a partition at once: between two of its assets, automation would ask for the next ones itself.
    yield from events


def _make(name: str, maker: Maker, making: Making) -> list[Event]:
    """Makes and commits one partition of one asset; returns what a run of the asset would report of it."""
    partition, tables = making.partition, making.tables
    if name in MADE_OF:
        making = replace(making, upstream=partial(tables.read, MADE_OF[name], partition))
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        made, metadata = make_one(maker, making)
        try:
            tables.commit(made.fold)
            break
        except CommitConflict:
            if attempt == COMMIT_ATTEMPTS:
                raise
    asset = dg.AssetKey(BY_NAME[name].name)
    tags = {DATA_VERSION_TAG: made.fold.data_version}
    return [
        dg.AssetMaterialization(asset, partition=partition.key, metadata=metadata, tags=tags),
        *_evaluations(asset, partition, made),
    ]


def _evaluations(asset: dg.AssetKey, partition: Partition, made: Made) -> list[dg.AssetCheckEvaluation]:
    return [
        dg.AssetCheckEvaluation(
            asset_key=asset,
            check_name=str(check.check_name),
            passed=check.passed,
            metadata=check.metadata,
            severity=check.severity,
            description=check.description,
            partition=partition.key,
        )
        for check in made.checks
    ]


def _blocking_fault(events: Sequence[Event]) -> str:
    """The check that keeps what is downstream from being made; empty where none does."""
    faults = (
        f"check {event.check_name} failed: {event.description}"
        for event in events
        if isinstance(event, dg.AssetCheckEvaluation) and event.check_name in BLOCKING and not event.passed
    )
    return next(faults, "")


def _failure(failed: Mapping[str, str], total: int) -> dg.Failure:
    shown = [f"{key}: {reason}" for key, reason in list(failed.items())[:SHOWN_FAILURES]]
    more = f"; and {len(failed) - SHOWN_FAILURES} more" if len(failed) > SHOWN_FAILURES else ""
    return dg.Failure(
        f"{len(failed)} of {total} partitions failed, the others are materialized: {'; '.join(shown)}{more}",
        metadata={"failed": len(failed), "failed_partitions": dg.MetadataValue.json(list(failed))},
        allow_retries=False,
    )

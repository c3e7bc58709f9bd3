"""How far each stage is: what the tables of the store say, without Dagster."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.failures import source_key
from video_assets.stages.fleet_daily import Versions, data_versions
from video_assets.stages.staleness import Outdated, examine, examine_day, recipes
from video_assets.table_store.table_store import TableError, TableStore
from video_assets.tables import (
    CHAIN,
    FAILED,
    FILTERED,
    FLEET_DAILY,
    FLEET_WINDOWS,
    OK,
    UNMATCHED,
    VIDEO_MANIFEST,
    Table,
)


@dataclass(frozen=True, slots=True)
class NotUpToDate:
    """A partition that is stale or missing, and why."""

    partition: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage over all its partitions.

    Attributes:
        partitions: those that it has a table of: up to date or stale.
        missing: those that a stage before has and this one has not.
        failed_partitions: those with failed rows, or whose table cannot be read.
        ok, failed, filtered: rows.
    """

    stage: str
    partitions: int
    up_to_date: int
    stale: tuple[NotUpToDate, ...]
    missing: tuple[NotUpToDate, ...]
    failed_partitions: int
    ok: int
    failed: int
    filtered: int


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed row, wherever it is."""

    stage: str
    partition: str
    video_path: str | None
    error_stage: str
    error_msg: str
    attempts: int


def chain_status(tables: TableStore, settings: Settings) -> tuple[list[StageStatus], list[Failure]]:
    """Every stage with what is not up to date and its counts of rows, and every failed row.

    What the source holds by now is the upload sensor's to compare: here the manifest stands for it.
    """
    now = recipes(settings)
    partitions = {table.name: list(tables.partitions(table)) for table in (*CHAIN, FLEET_DAILY)}
    outdated: list[tuple[Partition, Outdated]] = []
    versions: dict[str, Versions] = {}
    for partition in sorted({partition for table in CHAIN for partition in partitions[table.name]}):
        state = examine(partition, tables, now)
        outdated += [(partition, one) for one in state.outdated]
        versions.setdefault(partition.date, {}).update(data_versions(partition, state.known))
    for day in (Partition(date) for date in versions):
        if found := examine_day(day, versions[day.date], tables, now):
            outdated.append((day, found))
    statuses, failures = [], []
    asked = (FLEET_WINDOWS,) if settings.has_fleet else ()
    for table in (*asked, *CHAIN, FLEET_DAILY):
        partitions.setdefault(table.name, list(tables.partitions(table)))
        counts, failed = _count_rows(tables, table, partitions[table.name])
        failures += failed
        statuses.append(_stage(table.name, partitions[table.name], outdated, counts, failed))
    return statuses, failures


def _stage(
    name: str,
    partitions: list[Partition],
    outdated: list[tuple[Partition, Outdated]],
    rows: Counter[str],
    failures: list[Failure],
) -> StageStatus:
    by_state: dict[str, list[NotUpToDate]] = {"stale": [], "missing": []}
    for partition, one in outdated:
        if one.stage == name:
            by_state[one.state].append(NotUpToDate(partition.key, one.reasons))
    return StageStatus(
        name,
        partitions=len(partitions),
        up_to_date=len(partitions) - len(by_state["stale"]),
        stale=tuple(by_state["stale"]),
        missing=tuple(by_state["missing"]),
        failed_partitions=len({failure.partition for failure in failures}),
        ok=rows[OK],
        failed=rows[FAILED],
        filtered=rows[FILTERED],
    )


def _count_rows(tables: TableStore, table: Table, partitions: list[Partition]) -> tuple[Counter[str], list[Failure]]:
    """Rows by status, and every failed one."""
    counts: Counter[str] = Counter()
    failures: list[Failure] = []
    for partition in partitions:
        try:
            rows = tables.read(table, partition)
        except TableError as error:
            failures.append(Failure(table.name, partition.key, None, "read", str(error), 0))
            continue
        counts.update(rows["status"].to_pylist())
        failures += [
            Failure(table.name, partition.key, row.get("video_path"), *(row[name] for name in _ERROR))
            for row in rows.to_pylist()
            if row["status"] == FAILED
        ]
    return counts, failures


def outdated_lines(stages: list[StageStatus], shown: int = 5) -> list[str]:
    """What is not up to date in words: a line for each stage and reason, with some of the partitions."""
    lines = []
    for stage in stages:
        for state, found in (("stale", stage.stale), ("missing", stage.missing)):
            by_reason: dict[tuple[str, ...], list[str]] = {}
            for one in found:
                by_reason.setdefault(one.reasons, []).append(one.partition)
            for reasons, keys in by_reason.items():
                more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
                lines.append(f"{stage.stage} {state}: {', '.join(keys[:shown])}{more}: {'; '.join(reasons)}")
    return lines


def unmatched_videos(tables: TableStore, settings: Settings) -> list[str]:
    """Every video of the source that belongs to no vehicle or day, with the reason, when they were last listed."""
    try:
        rows = tables.read(UNMATCHED, None).to_pylist()
    except TableError:
        return []
    return [f"{source_key(row['video_path'], settings)}: {row['error_msg']}" for row in rows]


@dataclass(frozen=True, slots=True)
class KnownSources:
    """What the manifests know, each sorted."""

    vehicles: list[str]
    cameras: list[str]
    dates: list[str]


def known_sources(tables: TableStore) -> KnownSources:
    """The vehicles, cameras and days that have videos."""
    vehicles: set[str] = set()
    cameras: set[str] = set()
    dates: set[str] = set()
    for partition in tables.partitions(VIDEO_MANIFEST):
        rows = tables.read(VIDEO_MANIFEST, partition)
        if len(rows):
            vehicles.add(str(partition.vehicle))
            dates.add(partition.date)
            cameras.update(camera for camera in rows["camera"].to_pylist() if camera)
    return KnownSources(sorted(vehicles), sorted(cameras), sorted(dates))


_ERROR = ("error_stage", "error_msg", "attempts")

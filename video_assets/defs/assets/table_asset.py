"""What all table assets have in common: how they are declared, and how a run of one or several partitions reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pyarrow as pa

from video_assets.defs.partitions import GROUP
from video_assets.io_managers.table_io_manager import Upstream
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.failures import FailedItem, failed_items
from video_assets.stages.items import StageStopped
from video_assets.stages.vector_index import OpenIndex
from video_assets.storage.object_store import LockTimeout
from video_assets.table_store.odps_errors import OdpsUnavailable
from video_assets.table_store.table_store import Fold, TableStore
from video_assets.tables import FAILED, FILTERED, Table

OWNERS = ["team:fleet-data"]
SHOWN_FAILURES = 20

RETRIES = 3
RETRY_WAIT_S = 20
"""For what is no fault of the data: a store or model that is away, another run that holds the partition."""

_DAGSTER_TYPES = {"string": "string", "int32": "int", "int64": "int", "double": "float"}


def _nothing() -> pa.Table:
    raise AssertionError("this table is not made of another")


@dataclass(frozen=True, slots=True)
class Making:
    """What it takes to make one partition of a table. `upstream` reads what it is made of, when it is called.

    `index` is the vector index where it is open already, for several partitions.
    """

    partition: Partition
    settings: Settings
    tables: TableStore
    log: dg.DagsterLogManager
    upstream: Callable[[], pa.Table] = _nothing
    index: OpenIndex | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What a stage made of one partition. `numbers` are plotted by the UI: their names never change."""

    fold: Fold
    numbers: Mapping[str, float]
    checks: list[dg.AssetCheckResult] = field(default_factory=list)
    more: Mapping[str, dg.MetadataValue[Any]] = field(default_factory=dict)


Maker = Callable[[Making], Made]
"""Makes a partition of one table. It commits nothing: in a run of the asset that is the I/O manager's, in a packed run
the job's."""


def declare(
    table: Table,
    *,
    code_version: str,
    kinds: set[str],
    partitions_def: dg.PartitionsDefinition | None,
    condition: dg.AutomationCondition[Any] | None = None,
    pool: str | None = None,
) -> dict[str, Any]:
    """The keyword arguments of the asset that is `table`. `pool` names what it is short of; see dagster.yaml."""
    return {
        "name": table.name,
        "description": table.description,
        "partitions_def": partitions_def,
        "code_version": code_version,
        "pool": pool,
        "group_name": GROUP,
        "owners": OWNERS,
        "automation_condition": condition,
        "kinds": kinds,
        "tags": {"domain": "fleet-video"},
        "metadata": {"dagster/column_schema": column_schema(table)},
    }


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns as the UI shows them."""
    return dg.TableSchema(
        [
            dg.TableColumn(c.name, _DAGSTER_TYPES.get(str(c.type), str(c.type)), description=c.description)
            for c in table.columns
        ]
    )


def materialize(
    context: dg.AssetExecutionContext,
    settings: Settings,
    tables: TableStore,
    make: Maker,
    upstream: Upstream | None = None,
) -> dg.MaterializeResult[dict[str, Fold]]:
    """Makes every partition of the run, and hands the folds to the I/O manager to commit.

    In a run of several partitions each has its own metadata; a check passes if it does for all.
    """
    keys = sorted(context.partition_keys)
    made: dict[str, Made] = {}
    for key in keys:
        read = upstream.reader(str(key)) if upstream else _nothing
        try:
            made[key], metadata = make_one(
                make, Making(Partition.from_key(str(key)), settings, tables, context.log, read)
            )
        except (StageStopped, LockTimeout, OdpsUnavailable) as error:
            context.log.warning(f"{error} Trying again in {RETRY_WAIT_S} s.")
            raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_WAIT_S) from error
        if len(keys) > 1:
            # What is done is kept, whatever becomes of the next; the I/O manager will find nothing to do.
            tables.commit(made[key].fold)
            context.add_asset_metadata(metadata, partition_key=key)
    only = made[keys[0]] if len(keys) == 1 else None
    return dg.MaterializeResult(
        value={key: one.fold for key, one in made.items()},
        metadata=metadata if only else None,
        data_version=dg.DataVersion(only.fold.data_version) if only else None,
        check_results=only.checks if only else _together(made),
    )


def make_one(make: Maker, making: Making) -> tuple[Made, dict[str, Any]]:
    """Makes one partition; returns it with its metadata, and logs what failed."""
    begun = time.monotonic()
    made = make(making)
    metadata = describe(made, making.settings, making.tables, seconds=time.monotonic() - begun)
    warn_of_failures(making.log, failed_items(made.fold, making.settings))
    return made, metadata


def describe(made: Made, settings: Settings, tables: TableStore, *, seconds: float) -> dict[str, Any]:
    """The metadata of one partition's materialization."""
    fold = made.fold
    metadata: dict[str, Any] = {
        "dagster/uri": tables.uri(fold.table, fold.partition),
        "dagster/partition_row_count": len(fold.rows),
        "failed": fold.count(FAILED),
        "filtered": fold.count(FILTERED),
        "made": fold.made,
        "seconds": round(seconds, 3),
        **made.numbers,
        **made.more,
    }
    if failures := failed_items(fold, settings):
        metadata["failures"] = _failures_table(failures)
    return metadata


def warn_of_failures(log: dg.DagsterLogManager, failures: list[FailedItem]) -> None:
    """A line of the run's log for each item that is bad, up to SHOWN_FAILURES."""
    for failure in failures[:SHOWN_FAILURES]:
        log.warning(str(failure))
    if (more := len(failures) - SHOWN_FAILURES) > 0:
        log.warning(f"{more} more failed; `video-assets status` lists every one.")


def _failures_table(failures: list[FailedItem]) -> dg.MetadataValue[Any]:
    """The reason first: it is what a narrow window shows."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord({"reason": f.reason, "key": f.key, "stage": f.stage, "attempts": f.attempts})
            for f in failures[:SHOWN_FAILURES]
        ]
    )


def _together(made: Mapping[str, Made]) -> list[dg.AssetCheckResult]:
    results: dict[str, list[tuple[str, dg.AssetCheckResult]]] = {}
    for key, one in made.items():
        for check in one.checks:
            results.setdefault(str(check.check_name), []).append((key, check))
    return [
        dg.AssetCheckResult(
            check_name=name,
            passed=all(check.passed for _, check in checks),
            metadata={"failed_partitions": [key for key, check in checks if not check.passed]},
        )
        for name, checks in results.items()
    ]

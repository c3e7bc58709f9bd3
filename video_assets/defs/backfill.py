"""Launching packed backfills from outside Dagster: a selection is split into runs, which are queued."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._cli.job import _create_run
from dagster._core.errors import DagsterInvalidSubsetError
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

from video_assets.dagster_home import prepare_home
from video_assets.defs.history import history_errors, make_history
from video_assets.defs.packed import MAKERS, BackfillFault, days_between, make_partitions, packed_job
from video_assets.defs.partitions import dates, vehicles
from video_assets.defs.resources import deployment
from video_assets.defs.uploads_seen import known_partitions
from video_assets.keys import Partition, check_id
from video_assets.tables import BY_NAME

_BARE_WORD = re.compile(r'(?<![\w:"*/])[A-Za-z_]\w*(?![\w:("*/])')
"""Of a selection: a word by itself, neither an attribute (`kind:video`), a function, nor a part of a pattern."""

LOCATION = "video_assets"
REPOSITORY = "__repository__"


@dataclass(frozen=True, slots=True)
class Queued:
    """What was queued: the ids of the runs, and what they make together."""

    runs: tuple[str, ...]
    assets: tuple[str, ...]
    partitions: int
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Backfill:
    """What a backfill makes. `left_out` names what was selected and cannot be packed."""

    assets: tuple[str, ...]
    partitions: tuple[Partition, ...]
    left_out: tuple[str, ...]

    def packs(self, size: int) -> list[tuple[Partition, ...]]:
        """The partitions in runs of so many."""
        return [self.partitions[i : i + size] for i in range(0, len(self.partitions), size)]


def run_backfill(
    defs: dg.Definitions, home: Path, selection: str, size: int, *, first: str, last: str, only: Sequence[str]
) -> Queued:
    """Plans a backfill (see `plan_backfill`) and queues it in runs of `size` partitions.

    Raises:
        HomeUnusable, HistoryUnusable: the home cannot be made, read or written.
    """
    prepare_home(home)
    make_history(home)
    with history_errors(home), dg.DagsterInstance.from_config(str(home)) as instance:
        backfill = plan_backfill(defs, instance, selection, first=first, last=last, only=only)
        runs = _queue(backfill, size, instance, home) if backfill.partitions else []
    return Queued(tuple(runs), backfill.assets, len(backfill.partitions), backfill.left_out)


def plan_backfill(
    defs: dg.Definitions, instance: dg.DagsterInstance, selection: str, *, first: str, last: str, only: Sequence[str]
) -> Backfill:
    """The partitions that there are in a range, of the assets of a selection that can be packed.

    Args:
        selection: in Dagster's words: `clips`, `frames+`, `clips or frames`; `all`.
        first, last: days, each included; empty: no limit.
        only: vehicles; empty: all.

    Raises:
        BackfillFault: the selection cannot be read, or holds nothing that can be packed; or the range holds no day
            that has partitions.
        InvalidId: a day or vehicle is none.
    """
    assets, left_out = _assets(defs, selection)
    names = [check_id("vehicle", name) for name in only]
    days = days_between(first, last)
    if not days:
        cause = f"holds no day that has partitions: those are {dates.get_first_partition_key()} to today"
        raise BackfillFault(f"range {first or '…'} to {last or 'today'}", cause, "Correct --from and --to.")
    found = known_partitions(instance, deployment()[1], days, names)
    return Backfill(assets, tuple(found), left_out)


def _queue(backfill: Backfill, size: int, instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Queues a run for each pack; the daemon starts them. Vehicles that Dagster does not know are added."""
    instance.add_dynamic_partitions(str(vehicles.name), sorted({str(p.vehicle) for p in backfill.partitions}))
    queued = []
    target = WorkspaceFileTarget([str(home / "workspace.yaml")])
    with WorkspaceProcessContext(
        instance=instance, workspace_load_target=target, code_server_log_level="WARNING"
    ) as process:
        workspace = process.create_request_context()
        location = workspace.get_code_location(LOCATION)
        repository = location.get_repository(REPOSITORY)
        job = repository.get_full_job(packed_job.name)
        for pack in backfill.packs(size):
            config = {"assets": list(backfill.assets), "partitions": [partition.key for partition in pack]}
            run = _create_run(
                instance=instance,
                code_location=location,
                remote_repo=repository,
                remote_job=job,
                run_config={"ops": {make_partitions.name: {"config": config}}},
                tags={},
                op_selection=None,
                run_id=None,
            )
            instance.submit_run(run.run_id, workspace)
            queued.append(run.run_id)
    return queued


def _assets(defs: dg.Definitions, selection: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    graph = defs.resolve_asset_graph()
    known = {key.to_user_string() for key in graph.get_all_asset_keys()}
    if unknown := sorted(set(_BARE_WORD.findall(selection)) - known - {"and", "or", "not", "all"}):
        cause = f"there is no asset {', '.join(unknown)}"
        raise BackfillFault(f"selection {selection!r}", cause, f"Choose of {', '.join(MAKERS)}, or write all.")
    # As in the UI, where `frames+` is everything downstream; a bare name would mean one step of it.
    words = re.sub(rf'(?<![:"\w])({"|".join(BY_NAME)})(?!\w)', r"key:\1", selection)
    try:
        chosen = dg.AssetSelection.all() if selection == "all" else dg.AssetSelection.from_string(words)
        found = chosen.resolve(graph)
    except (dg.DagsterError, DagsterInvalidSubsetError) as error:
        remedy = "Write clips, frames+, 'clips or frames', all …"
        raise BackfillFault(f"selection {selection!r}", "cannot be read", remedy) from error
    names = {key.to_user_string() for key in found}
    packed = tuple(name for name in MAKERS if name in names)
    if not packed:
        cause = "holds nothing that can be packed"
        raise BackfillFault(f"selection {selection!r}", cause, f"Choose of {', '.join(MAKERS)}.")
    return packed, tuple(sorted(names - set(packed)))

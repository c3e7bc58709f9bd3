"""How far a home is, and what keeps it in order: `status`, `backfill`, `gc`, `retry`, `remove-deleted`."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json, print_table
from video_assets.plural import counted

if TYPE_CHECKING:
    from video_assets.stages.status import Failure, StageStatus

upkeep_app = typer.Typer()

VehicleOption = Annotated[str | None, typer.Option(help="Only this vehicle.")]
DateOption = Annotated[str | None, typer.Option(help="Only this fleet-local day, YYYY-MM-DD.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Change nothing; tell what would be done.")]


@upkeep_app.command()
def status(as_json: JsonOption = False) -> None:
    """How far each stage is, what is stale or missing and why, and what failed."""
    from video_assets.settings import is_missing_folder, load_settings, variable
    from video_assets.stages.status import chain_status, outdated_lines, unmatched_videos
    from video_assets.table_store.registry import open_tables

    with errors_in_words(as_json):
        settings = load_settings()
        stages: list[StageStatus] = []
        failures: list[Failure] = []
        unmatched: list[str] = []
        if not is_missing_folder(settings.store):
            tables = open_tables(settings)
            (stages, failures), unmatched = chain_status(tables, settings), unmatched_videos(tables, settings)
    if not settings.has_source and not settings.has_fleet:
        typer.echo(f"{variable('source')} is not set: set it to the folder that holds the uploads.", err=True)
    if as_json:
        print_json(
            {"stages": [asdict(s) for s in stages], "failures": [asdict(f) for f in failures], "unmatched": unmatched}
        )
        return
    if not any(stage.partitions for stage in stages) and not unmatched:
        typer.echo("Nothing made yet. Run `video-assets up`.")
        return
    print_table(
        ["stage", "up to date", "stale", "missing", "with failures", "rows ok", "failed", "filtered"],
        [
            [s.stage, s.up_to_date, len(s.stale), len(s.missing), s.failed_partitions, s.ok, s.failed, s.filtered]
            for s in stages
        ],
    )
    for line in outdated_lines(stages):
        typer.echo(line)
    for failure in failures:
        where = f"{failure.stage} {failure.partition} [{failure.error_stage}, {counted(failure.attempts, 'attempt')}]"
        video = (
            "" if failure.video_path is None or failure.video_path in failure.error_msg else f"{failure.video_path}: "
        )
        typer.echo(f"{where}: {video}{failure.error_msg}")
    if unmatched:
        typer.echo(f"{len(unmatched)} unmatched, e.g. {unmatched[0]}")


@upkeep_app.command()
def backfill(
    selection: Annotated[
        str, typer.Argument(help="Assets in Dagster's words: clips, 'frames+', 'clips or frames', all.")
    ],
    pack: Annotated[int, typer.Option(min=1, max=10_000, help="Partitions of a run.")],
    first: Annotated[
        str, typer.Option("--from", help="The first day, YYYY-MM-DD; by default, the first there is.")
    ] = "",
    last: Annotated[str, typer.Option("--to", help="The last day; by default, today.")] = "",
    vehicle: Annotated[list[str] | None, typer.Option(help="Only this vehicle; may be given several times.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Makes many small partitions in few runs: those of the range that have uploads or a manifest."""
    from video_assets.dagster_home import home_folder
    from video_assets.settings import load_settings, resolved_environment

    with errors_in_words(as_json):
        variables = resolved_environment(load_settings())
        home = home_folder(variables.get("DAGSTER_HOME"))
        # What the code location, loaded here and in the process that describes its jobs, reads.
        os.environ.update({**variables, "DAGSTER_HOME": str(home)})
        from video_assets.definitions import defs
        from video_assets.defs.backfill import run_backfill

        done = run_backfill(defs, home, selection, pack, first=first, last=last, only=vehicle or [])
    if as_json:
        print_json(asdict(done))
        return
    if not done.runs:
        typer.echo("Nothing to make: no uploads were seen in this range. `video-assets up` looks for them.")
        return
    typer.echo(
        f"{counted(len(done.runs), 'run')} of {counted(done.partitions, 'partition')} queued: {', '.join(done.assets)}"
    )
    if done.left_out:
        typer.echo(f"Not packed: {', '.join(done.left_out)}. What is made of these follows by itself.")
    typer.echo("They start where `video-assets up` or a Dagster daemon runs on this home.")


@upkeep_app.command()
def gc(
    grace: Annotated[float, typer.Option(min=1, help="Hours that something must have lain unused.")] = 72,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Takes blobs and records that no table names any more."""
    from video_assets.settings import load_settings
    from video_assets.stages.garbage import collect_garbage, in_words
    from video_assets.storage.registry import open_store
    from video_assets.table_store.registry import open_tables

    with errors_in_words(as_json):
        settings = load_settings()
        counts = collect_garbage(open_tables(settings), open_store(settings.store), grace_h=grace, dry_run=dry_run)
    if as_json:
        print_json([asdict(count) for count in counts])
        return
    if counts:
        print_table(
            ["table", "what", "", "why", "objects", "bytes"],
            [
                [c.table or "-", c.kind, "taken" if c.taken else "kept", c.reason, c.objects, c.size_bytes]
                for c in sorted(counts, key=lambda c: (not c.taken, c.table, c.kind))
            ],
        )
    typer.echo(in_words(counts, dry_run=dry_run))


@upkeep_app.command()
def retry(
    vehicle: VehicleOption = None,
    date: DateOption = None,
    stage: Annotated[
        Literal["clips", "frames", "embeddings"] | None, typer.Option(help="Only items of this stage.")
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Lets failed items that have used up their attempts be tried once more by the next run."""
    from video_assets.keys import InvalidId, check_date, check_id
    from video_assets.settings import load_settings
    from video_assets.stages.retry import Selection, set_back_failed
    from video_assets.storage.registry import open_store
    from video_assets.table_store.registry import open_tables

    try:
        chosen = Selection(check_id("vehicle", vehicle) if vehicle else None, check_date(date) if date else None, stage)
    except InvalidId as error:
        raise typer.BadParameter(str(error)) from None
    with errors_in_words(as_json):
        settings = load_settings()
        items = set_back_failed(
            open_tables(settings),
            open_store(settings.store),
            chosen,
            max_attempts=settings.max_attempts,
            dry_run=dry_run,
        )
    if as_json:
        print_json([asdict(item) for item in items])
        return
    for item in items:
        typer.echo(f"{item.verdict:8} {item.stage} {item.partition}: {item.error_msg}")
    set_back = [item for item in items if item.verdict == "set back"]
    typer.echo(f"{counted(len(set_back), 'failed item')} {'would be ' if dry_run else ''}set back.")
    partitions = sorted({item.partition for item in items if item.verdict != "in use"})
    if partitions and not dry_run:
        typer.echo(f"The next run of {counted(len(partitions), 'partition')} tries them. In the UI, or:")
        for partition in partitions:
            typer.echo(launch_command(partition))


@upkeep_app.command("remove-deleted")
def remove_deleted(
    partition: Annotated[str, typer.Argument(help="A partition, such as '2026-01-05|veh-1'.")],
    force: Annotated[bool, typer.Option("--force", help="Even if most of it is gone from the source.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Takes the rows of videos that are deleted at the source out of one partition's manifest."""
    from video_assets.keys import InvalidId, Partition
    from video_assets.settings import load_settings
    from video_assets.stages.manifest import build_manifest
    from video_assets.table_store.registry import open_tables

    try:
        chosen = Partition.from_key(partition)
    except InvalidId as error:
        raise typer.BadParameter(str(error)) from None
    if chosen.vehicle is None:
        raise typer.BadParameter("name the vehicle too, as in '2026-01-05|veh-1'")
    with errors_in_words(as_json):
        settings = load_settings()
        tables = open_tables(settings)
        mode: Literal["remove", "force"] = "force" if force else "remove"
        manifest = build_manifest(chosen, tables=tables, settings=settings, on_source_delete=mode)
        tables.commit(manifest.fold)
    removal = manifest.removal
    if as_json:
        print_json({"removed": sorted(removal.paths), "kept": removal.gone, "refusal": removal.refusal})
    else:
        for path in sorted(removal.paths):
            typer.echo(f"removed {path}")
        typer.echo(f"{counted(len(removal.paths), 'video')} removed from the manifest of {partition}.")
        if removal.paths:
            typer.echo(f"What was made of them goes with the next run, in the UI or:\n{launch_command(partition)}")
    if removal.refusal:
        typer.secho(f"Refused: {removal.told(chosen)}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def launch_command(partition: str) -> str:
    """What queues the chain of a partition, on the home that every command here is of."""
    from video_assets.keys import Partition

    chosen = Partition.from_key(partition)
    return f"video-assets backfill all --pack 1 --from {chosen.date} --to {chosen.date} --vehicle {chosen.vehicle}"

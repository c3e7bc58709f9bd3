"""`video-assets gc`, `retry` and `remove-deleted`: what keeps a home in order."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from video_assets.cli_output import JsonOption, errors_in_words, print_json, print_table
from video_assets.plural import counted

upkeep_app = typer.Typer()

VehicleOption = Annotated[str | None, typer.Option(help="Only this vehicle.")]
DateOption = Annotated[str | None, typer.Option(help="Only this fleet-local day, YYYY-MM-DD.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Change nothing; tell what would be done.")]


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
    """What runs the chain of a partition, in this terminal."""
    assets = "video_manifest,clips,frames,embeddings,vector_index"
    return f"dagster asset materialize -m video_assets.definitions --select {assets} --partition '{partition}'"

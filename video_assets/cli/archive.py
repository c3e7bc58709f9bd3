"""`video-assets archive`: footage into numbered folders, to be moved to a disk."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json, transfer_progress
from video_assets.plural import counted
from video_assets.sizes import in_words

archive_app = typer.Typer()


@archive_app.command()
def archive(
    dest: Annotated[Path, typer.Argument(help="The folder that vehicles, dates and numbered folders go to.")],
    stage: Annotated[Literal["raw", "clips"], typer.Option(help="raw videos (bags too) or clips.")] = "raw",
    vehicle: Annotated[list[str] | None, typer.Option(help="Only this vehicle; may be given several times.")] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; may be given several times.")] = None,
    from_: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day.")] = None,
    to: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last day.")] = None,
    folder_gib: Annotated[float, typer.Option(help="The most that a numbered folder holds, in GiB.")] = 10.0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many files at a time.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be copied, and where to.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copies footage to DEST/VEHICLE/DATE/001, 002, …, each of at most 10 GiB, to be moved to a disk."""
    from video_assets.archive.archive import archive as copy_files
    from video_assets.downloads.selection import Selection

    if not 0 < folder_gib < 1e6:
        raise typer.BadParameter("give a size above 0", param_hint="--folder-gib")
    with errors_in_words(as_json), transfer_progress() as report:
        days = (from_.date() if from_ else None, to.date() if to else None)
        chosen = Selection(stage, tuple(vehicle or ()), *days, tuple(camera or ()))
        most = round(folder_gib * 1024**3)
        done = copy_files(chosen, dest, folder_bytes=most, workers=workers, dry_run=dry_run, report=report)
    if as_json:
        folders = {name: {"files": files, "bytes": size} for name, (files, size) in done.folders.items()}
        print_json({**dataclasses.asdict(done), "folders": folders, "dry_run": dry_run})
        return
    for folder, (count, size) in done.folders.items():
        typer.echo(f"  {folder}  {counted(count, 'file')}, {in_words(size)}")
    would = "would be copied" if dry_run else "copied"
    told = [f"{counted(done.copied, 'file')} {would}, {in_words(done.copied_bytes)}"]
    told += [f"{done.here} there already"] * (done.here > 0)
    told += [f"{done.moved} in folders moved away"] * (done.moved > 0)
    typer.echo(f"{', '.join(told)}: {dest}")

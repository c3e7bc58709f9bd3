"""`video-assets download`: files of a selection onto a disk."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json, transfer_progress
from video_assets.plural import counted

downloads_app = typer.Typer()


@downloads_app.command()
def download(
    dest: Annotated[Path, typer.Argument(help="The folder that the files go to.")],
    stage: Annotated[Literal["raw", "clips", "frames"], typer.Option(help="raw videos, clips or frames.")] = "raw",
    vehicle: Annotated[list[str] | None, typer.Option(help="Only this vehicle; may be given several times.")] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; may be given several times.")] = None,
    from_: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day.")] = None,
    to: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last day.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Instead: what the source has under this prefix.")] = None,
    uri: Annotated[list[str] | None, typer.Option(help="Instead: this object; may be given several times.")] = None,
    layout: Annotated[
        Literal["by_recording", "by_modality", "flat"],
        typer.Option(help="RECORDING/CAMERA/…, CAMERA/RECORDING/… or RECORDING__CAMERA/…"),
    ] = "by_recording",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave files that are there.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many files at a time.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Writes raw videos, clips or frames of a selection to a folder. All writes are planned before the first."""
    from video_assets.downloads.download import download as fetch_files
    from video_assets.downloads.selection import Selection

    if overwrite and skip_existing:
        raise typer.BadParameter("give either --overwrite or --skip-existing")
    with errors_in_words(as_json), transfer_progress() as report:
        days = (from_.date() if from_ else None, to.date() if to else None)
        chosen = Selection(stage, tuple(vehicle or ()), *days, tuple(camera or ()), prefix, tuple(uri or ()))
        paths = fetch_files(
            chosen, dest, layout, overwrite, skip_existing=skip_existing, workers=workers, report=report
        )
    if as_json:
        print_json([str(path) for path in paths])
    else:
        typer.echo(f"{counted(len(paths), 'file')} in {dest}")

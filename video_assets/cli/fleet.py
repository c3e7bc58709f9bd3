"""`video-assets fleet …`: footage of a fleet's batch API."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json
from video_assets.plural import counted

fleet_app = typer.Typer(no_args_is_help=True, help="Footage of a fleet's batch API.")

OutOption = Annotated[Path, typer.Argument(help="The folder: keys below it follow VIDEO_ASSETS_PATH_TEMPLATE.")]
VehiclesOption = Annotated[list[str], typer.Option("--vehicle", help="A vehicle; may be given several times.")]
CamerasOption = Annotated[list[str], typer.Option("--camera", help="A camera; may be given several times.")]
DayOption = Annotated[
    datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="A day of the fleet's; the newest if not given.")
]
HoursOption = Annotated[str | None, typer.Option(help="Only windows that begin then, as 08:30-17:00.")]
SampleOption = Annotated[int | None, typer.Option(min=1, help="Only so many windows, drawn at random.")]
SeedOption = Annotated[int, typer.Option(help="For the same draw again.")]
SparseOption = Annotated[bool, typer.Option("--sparse", help="Leave windows within 5 minutes of a hole unasked.")]
FleetWorkersOption = Annotated[int, typer.Option(min=1, max=64, help="How many cameras at a time.")]


@fleet_app.command("availability")
def fleet_availability(
    out: OutOption,
    vehicle: VehiclesOption,
    camera: CamerasOption,
    date: DayOption = None,
    hours: HoursOption = None,
    sample: SampleOption = None,
    seed: SeedOption = 0,
    sparse: SparseOption = False,
    workers: FleetWorkersOption = 4,
    as_json: JsonOption = False,
) -> None:
    """Finds out which windows of a day have footage, without fetching any."""
    with errors_in_words(as_json):
        _run_fleet(out, vehicle, camera, date, (hours, sample, seed), workers, as_json, sparse=sparse, download=False)


@fleet_app.command("fetch")
def fleet_fetch(
    out: OutOption,
    vehicle: VehiclesOption,
    camera: CamerasOption,
    date: DayOption = None,
    hours: HoursOption = None,
    sample: SampleOption = None,
    seed: SeedOption = 0,
    sparse: SparseOption = False,
    most_files: Annotated[int | None, typer.Option(min=1, help="Files of a vehicle at most.")] = None,
    workers: FleetWorkersOption = 4,
    as_json: JsonOption = False,
) -> None:
    """Fetches a day's bags into a folder laid out by the path template, which a source can be."""
    chosen = (hours, sample, seed)
    with errors_in_words(as_json):
        _run_fleet(out, vehicle, camera, date, chosen, workers, as_json, sparse=sparse, most_files=most_files)


def _run_fleet(
    out: Path,
    vehicles: list[str],
    cameras: list[str],
    date: datetime | None,
    chosen: tuple[str | None, int | None, int],
    workers: int,
    as_json: bool,
    **options: Any,
) -> None:
    from rich.console import Console

    from video_assets.settings import load_settings
    from video_assets.sources.fleet.fetch import FetchResult, FleetFetch
    from video_assets.sources.fleet.states import Camera
    from video_assets.sources.fleet.windows import chosen_windows

    settings = load_settings()
    day, windows = chosen_windows(settings, date.date() if date else None, *chosen)
    wanted = [(Camera(v, c, day), windows) for v in vehicles for c in cameras]
    with Console(stderr=True).status(f"{day}: {counted(len(windows), 'window')} of {len(wanted)} cameras") as line:

        def report(result: FetchResult) -> None:
            line.update(f"{day}: {result} of {len(windows) * len(wanted)}")

        result = FleetFetch.into_folder(settings, out, **options).run(wanted, workers=workers, report=report)
    if as_json:
        print_json({"day": day, "windows": dict(result.counts), "errors": result.errors, "stopped": result.stopped})
    else:
        typer.echo(f"{day}: {result}")
    for error in [*result.errors[:20], *([result.stopped] if result.stopped else [])]:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
    if result.errors or result.stopped:
        raise typer.Exit(1)

"""`video-assets …`: thin commands over the package."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from video_assets.errors import VideoAssetsError
from video_assets.plural import counted

if TYPE_CHECKING:
    from video_assets.downloads.fetch import Progress
    from video_assets.settings import Settings
    from video_assets.stages.status import Failure, StageStatus

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
frames_app = typer.Typer(no_args_is_help=True, help="The decode engine alone.")
app.add_typer(frames_app, name="frames")
fleet_app = typer.Typer(no_args_is_help=True, help="Footage of a fleet's batch API.")
app.add_typer(fleet_app, name="fleet")

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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"video-assets {version('video-assets')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turns a fleet's raw video into frames that can be searched and trusted. `video-assets demo` shows it."""


@contextmanager
def _errors_in_words(as_json: bool = False) -> Iterator[None]:
    """An error that a person can mend is printed as such, and exits with 1; for scripts on stdout too, as JSON."""
    try:
        yield
    except VideoAssetsError as error:
        if as_json:
            _print_json({"error": {"item": error.item, "cause": error.cause, "remedy": error.remedy}})
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


@app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where everything of the demo goes.")] = Path("demo"),
    videos: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="A folder of your own footage instead of ours.")
    ] = None,
) -> None:
    """Lays real footage out as a small fleet and runs the whole chain over it."""
    from video_assets.demo.home import DemoHome
    from video_assets.demo.walkthrough import run_demo

    with _errors_in_words():
        home = DemoHome(directory.resolve())
        os.environ.update(home.environment())
        try:
            failed = run_demo(home, videos)
        except KeyboardInterrupt:
            typer.echo("\nStopped. Run again to go on.", err=True)
            raise typer.Exit(130) from None
    raise typer.Exit(1 if failed else 0)


@app.command()
def up(
    home: Annotated[Path | None, typer.Option(help="DAGSTER_HOME; by default the one set, else .dagster_home.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the UI listens, on 127.0.0.1.")] = 3000,
) -> None:
    """Runs Dagster's webserver and daemon, until Ctrl-C; the home is made if it is not there."""
    from video_assets.dagster_home import home_folder
    from video_assets.settings import load_settings, resolved_environment

    with _errors_in_words():
        variables = resolved_environment(load_settings())
        folder = home_folder(str(home) if home else variables.get("DAGSTER_HOME"))
        # Imported here, since it takes a second: a wrong setting is told at once.
        from video_assets.dagster_processes import serve

        # What dagster.yaml may name.
        os.environ.update(variables)
        text = f"The UI: http://127.0.0.1:{port}  History: {folder}  Stop: Ctrl-C"
        serve(folder, port, variables, begin=lambda: typer.echo(text))


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Checks every configured component; exits with 1 if one is broken."""
    from video_assets.doctor.examine import examine
    from video_assets.settings import load_settings

    marks = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failed": typer.colors.RED}
    with _errors_in_words(as_json):
        findings = []
        for finding in examine(load_settings()):
            findings.append(finding)
            if not as_json:
                typer.secho(f"{finding.verdict:8}", fg=marks[finding.verdict], nl=False)
                typer.echo(f" {finding.component}: {finding.text}" + (f". {finding.remedy}" if finding.remedy else ""))
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    raise typer.Exit(1 if any(finding.verdict == "failed" for finding in findings) else 0)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """How far each stage is, and what failed."""
    from video_assets.settings import is_missing_folder, load_settings, variable
    from video_assets.stages.status import chain_status, unmatched_videos
    from video_assets.table_store.registry import open_tables

    with _errors_in_words(as_json):
        settings = load_settings()
        stages: list[StageStatus] = []
        failures: list[Failure] = []
        unmatched: list[str] = []
        if not is_missing_folder(settings.store):
            tables = open_tables(settings)
            (stages, failures), unmatched = chain_status(tables), unmatched_videos(tables, settings)
    if settings.source is None:
        typer.echo(f"{variable('source')} is not set: set it to the folder that holds the uploads.", err=True)
    if as_json:
        _print_json(
            {"stages": [asdict(s) for s in stages], "failures": [asdict(f) for f in failures], "unmatched": unmatched}
        )
        return
    if not any(stage.partitions for stage in stages) and not unmatched:
        typer.echo("Nothing made yet. Run `video-assets up`.")
        return
    _print_table(
        ["stage", "partitions", "missing", "ok", "failed", "filtered"],
        [[s.stage, s.partitions, len(s.missing), s.ok, s.failed, s.filtered] for s in stages],
    )
    for failure in failures:
        where = f"{failure.stage} {failure.partition} [{failure.error_stage}, {counted(failure.attempts, 'attempt')}]"
        video = (
            "" if failure.video_path is None or failure.video_path in failure.error_msg else f"{failure.video_path}: "
        )
        typer.echo(f"{where}: {video}{failure.error_msg}")
    if unmatched:
        typer.echo(f"{len(unmatched)} unmatched, e.g. {unmatched[0]}")


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="What the frames should show.")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture that the frames should resemble.")] = None,
    vehicle: Annotated[str | None, typer.Option(help="Only this vehicle.")] = None,
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    date: Annotated[str | None, typer.Option(help="Only this fleet-local day, YYYY-MM-DD.")] = None,
    model: Annotated[str | None, typer.Option(help="Another of VIDEO_ASSETS_EMBED_MODELS than the first.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many frames at most.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Finds frames by TEXT or by --image, nearest first."""
    from video_assets.search.query import search_image, search_text
    from video_assets.settings import load_settings
    from video_assets.vectors.index_errors import InvalidInputError
    from video_assets.vectors.vector_index import PointFilter

    if (text is None) == (image is None):
        raise typer.BadParameter("give either TEXT or --image PATH")
    try:
        where = PointFilter(vehicle=vehicle, camera=camera, date=date)
    except InvalidInputError as error:
        raise typer.BadParameter(str(error)) from None
    with _errors_in_words(as_json):
        settings = load_settings()
        if image is not None:
            found = search_image(settings, image, where=where, limit=limit, model=model)
        else:
            found = search_text(settings, str(text), where=where, limit=limit, model=model)
    if as_json:
        _print_json([asdict(frame) for frame in found])
        return
    if not found:
        typer.echo(_why_nothing(settings, vehicle, camera, date), err=True)
        return
    _print_table(
        ["score", "vehicle", "camera", "captured at (UTC)", "in clip", "video", "the model's guesses"],
        [
            [
                f"{frame.score:.3f}",
                frame.vehicle,
                frame.camera or "",
                frame.captured_at.isoformat(sep=" ", timespec="milliseconds")[:-6] if frame.captured_at else "",
                f"{frame.pts_s:.3f} s",
                frame.video_path,
                ", ".join(frame.labels[:2]),
            ]
            for frame in found
        ],
    )


def _why_nothing(settings: Settings, vehicle: str | None, camera: str | None, date: str | None) -> str:
    """Which of the filters names something that there is not, and what there is."""
    from video_assets.stages.status import known_sources
    from video_assets.table_store.registry import open_tables

    with _errors_in_words():
        known = known_sources(open_tables(settings))
    given = {"vehicle": (vehicle, known.vehicles), "camera": (camera, known.cameras), "day": (date, known.dates)}
    for kind, (name, names) in given.items():
        if name is not None and name not in names:
            shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
            return f"No frames of {kind} {name}; {kind}s are {shown}." if names else f"No frames of {kind} {name}."
    return "No frames fit all of these filters." if any((vehicle, camera, date)) else "No frames are indexed yet."


@app.command()
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
    with _errors_in_words(as_json), _download_progress() as report:
        days = (from_.date() if from_ else None, to.date() if to else None)
        chosen = Selection(stage, tuple(vehicle or ()), *days, tuple(camera or ()), prefix, tuple(uri or ()))
        paths = fetch_files(
            chosen, dest, layout, overwrite, skip_existing=skip_existing, workers=workers, report=report
        )
    if as_json:
        _print_json([str(path) for path in paths])
    else:
        typer.echo(f"{counted(len(paths), 'file')} in {dest}")


@contextmanager
def _download_progress() -> Iterator[Callable[[Progress], None]]:
    """A line on a terminal that says how far it is."""
    from rich.console import Console

    with Console(stderr=True).status("Looking at what there is") as line:

        def report(progress: Progress) -> None:
            failed = f", {progress.failed} failed" if progress.failed else ""
            size = f"{progress.bytes_done / 1e6:.0f} MB"
            line.update(f"{progress.done} of {counted(progress.files, 'file')}, {size}{failed}")

        yield report


@frames_app.command("extract")
def frames_extract(
    video: Annotated[str, typer.Argument(help="A path or URI.")],
    out: Annotated[Path, typer.Option(help="The folder for images and frames.parquet.")],
    fps: Annotated[str | None, typer.Option(help="Frames per second; 1/3 and 29.97 are exact.")] = None,
    every: Annotated[str | None, typer.Option(help="A frame every so many seconds.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="So many frames, evenly over the video.")] = None,
    keyframes: Annotated[bool, typer.Option("--keyframes", help="Every key frame.")] = False,
    scenes: Annotated[bool, typer.Option("--scenes", help="The first frame of each scene.")] = False,
    image_format: Annotated[Literal["jpeg", "png"], typer.Option("--format", help="jpeg or png.")] = "jpeg",
    shard: Annotated[bool, typer.Option("--shard", help="One tar instead of a file per frame.")] = False,
    longest_side: Annotated[int | None, typer.Option(min=16, help="Reduce larger frames to it.")] = None,
    crop: Annotated[str | None, typer.Option(help="x,y,width,height as displayed, or auto for black bars.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Extracts frames of one video with their exact times. Exits with 1 if the video is damaged or cut short."""
    from video_assets.stages.extraction import extract_to_folder
    from video_assets.video.crop import parse_crop
    from video_assets.video.image import ImageOptions
    from video_assets.video.sampling import parse_policy

    given = {"fps": fps, "every_s": every, "count": count}
    forms = [f"{name}={number}" for name, number in given.items() if number is not None]
    forms += ["keyframes"] * keyframes + ["scene"] * scenes
    if len(forms) != 1:
        raise typer.BadParameter("give one of --fps, --every, --count, --keyframes and --scenes")
    try:
        policy = parse_policy(forms[0])
        box = parse_crop(crop) if crop is not None else None
    except ValueError as error:
        raise typer.BadParameter(_sampling_fault(fps, every) or str(error)) from None
    with _errors_in_words(as_json):
        options = ImageOptions(image_format, longest_side=longest_side)
        result = extract_to_folder(video, out, policy, options, crop=box, shard=shard)
    if as_json:
        _print_json(asdict(result))
    elif result.frames or not result.error_msg:
        typer.echo(f"{counted(result.frames, 'frame')} in {result.seconds:.2f} s: {result.table}")
    if result.error_msg:
        typer.secho(f"Error: {result.error_msg}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def _sampling_fault(fps: str | None, every: str | None) -> str:
    """What is wrong with a rate or a distance, by its option; empty where neither was given or both are good."""
    from video_assets.video.sampling import exact

    for option, text, unit in (("--every", every, "seconds"), ("--fps", fps, "frames per second")):
        try:
            good = text is None or exact(text) > 0
        except ValueError:
            good = False
        if not good:
            return f"{option} {text}: give {unit} above 0, such as 0.5 or 1/3"
    return ""


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
    with _errors_in_words(as_json):
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
    most_files: Annotated[int | None, typer.Option(min=1, help="Files of a camera at most.")] = None,
    workers: FleetWorkersOption = 4,
    as_json: JsonOption = False,
) -> None:
    """Fetches a day's bags into a folder laid out by the path template, which a source can be."""
    chosen = (hours, sample, seed)
    with _errors_in_words(as_json):
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
    from video_assets.sources.fleet_fetch import Camera, FetchResult, FleetFetch
    from video_assets.sources.fleet_windows import chosen_windows

    settings = load_settings()
    day, windows = chosen_windows(settings.timezone, date.date() if date else None, *chosen)
    wanted = [(Camera(v, c, day), windows) for v in vehicles for c in cameras]
    with Console(stderr=True).status(f"{day}: {counted(len(windows), 'window')} of {len(wanted)} cameras") as line:

        def report(result: FetchResult) -> None:
            line.update(f"{day}: {result} of {len(windows) * len(wanted)}")

        result = FleetFetch.of(settings, out, **options).run(wanted, workers=workers, report=report)
    if as_json:
        _print_json({"day": day, "windows": dict(result.counts), "errors": result.errors, "stopped": result.stopped})
    else:
        typer.echo(f"{day}: {result}")
    for error in [*result.errors[:20], *([result.stopped] if result.stopped else [])]:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
    if result.errors or result.stopped:
        raise typer.Exit(1)


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, default=str, ensure_ascii=False)
    sys.stdout.write("\n")


def _print_table(columns: list[str], rows: list[list[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 240, highlight=False).print(table)


if __name__ == "__main__":
    app()

"""`video-assets …`: thin commands over the package."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from video_assets.errors import VideoAssetsError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=__doc__)
frames_app = typer.Typer(no_args_is_help=True, help="The decode engine alone.")
app.add_typer(frames_app, name="frames")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@contextmanager
def _errors_in_words() -> Iterator[None]:
    """An error that a person can mend is printed as such, and exits with 1."""
    try:
        yield
    except VideoAssetsError as error:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


@app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where everything of the demo goes.")] = Path("demo"),
    videos: Annotated[Path | None, typer.Option(help="Your own footage instead of the packaged.")] = None,
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
    from video_assets.doctor import examine
    from video_assets.settings import load_settings

    marks = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failed": typer.colors.RED}
    with _errors_in_words():
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
    from video_assets.settings import load_settings
    from video_assets.stages.status import chain_status
    from video_assets.storage.registry import open_store
    from video_assets.table_store.parquet import ParquetTables

    with _errors_in_words():
        stages, failures = chain_status(ParquetTables(open_store(load_settings().store)))
    if as_json:
        _print_json({"stages": [asdict(s) for s in stages], "failures": [asdict(f) for f in failures]})
        return
    _print_table(
        ["stage", "partitions", "missing", "ok", "failed", "filtered"],
        [[s.stage, s.partitions, len(s.missing), s.ok, s.failed, s.filtered] for s in stages],
    )
    for failure in failures:
        where = f"{failure.stage} {failure.partition} [{failure.error_stage}, {failure.attempts} attempts]"
        video = (
            "" if failure.video_path is None or failure.video_path in failure.error_msg else f"{failure.video_path}: "
        )
        typer.echo(f"{where}: {video}{failure.error_msg}")


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
    from video_assets.vectors.vector_index import PointFilter

    if (text is None) == (image is None):
        raise typer.BadParameter("give either TEXT or --image PATH")
    with _errors_in_words():
        settings = load_settings()
        where = PointFilter(vehicle=vehicle, camera=camera, date=date)
        if image is not None:
            found = search_image(settings, image, where=where, limit=limit, model=model)
        else:
            found = search_text(settings, str(text), where=where, limit=limit, model=model)
    if as_json:
        _print_json([asdict(frame) for frame in found])
        return
    _print_table(
        ["score", "vehicle", "camera", "captured at (UTC)", "in clip", "video", "labels"],
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
        raise typer.BadParameter(str(error)) from None
    with _errors_in_words():
        options = ImageOptions(image_format, longest_side=longest_side)
        result = extract_to_folder(video, out, policy, options, crop=box, shard=shard)
    if as_json:
        _print_json(asdict(result))
    else:
        typer.echo(f"{result.frames} frames in {result.seconds:.2f} s: {result.table}")
    if result.error_msg:
        typer.secho(f"Error: {result.error_msg}", fg=typer.colors.RED, err=True)
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

"""`video-assets frames …`: the decode engine alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from video_assets.cli.output import JsonOption, errors_in_words
from video_assets.extract_options import SMALLEST_SIDE, ExtractOptions, in_words

if TYPE_CHECKING:
    from video_assets.stages.extraction import Extraction

frames_app = typer.Typer(no_args_is_help=True, help="The decode engine alone.")


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
    longest_side: Annotated[int | None, typer.Option(min=SMALLEST_SIDE, help="Reduce larger frames to it.")] = None,
    crop: Annotated[str | None, typer.Option(help="x,y,width,height as displayed, or auto for black bars.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Extracts frames of one video with their exact times. Exits with 1 if the video is damaged or cut short."""
    options = ExtractOptions(
        video, out, fps, every, count, keyframes, scenes, image_format, shard, longest_side, crop, as_json
    )
    try:
        run = options.prepare()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    _conclude(run, as_json)


def tell_alone(run: Callable[[], Extraction], *, as_json: bool) -> None:
    """Ends this process as the command does whose extraction is `run`, whatever comes of it."""
    alone = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    alone.command()(lambda: _conclude(run, as_json))
    alone(args=[])


def _conclude(run: Callable[[], Extraction], as_json: bool) -> None:
    with errors_in_words(as_json):
        result = run()
    typer.echo(in_words(result, as_json=as_json), nl=False)
    if result.error_msg:
        typer.secho(f"Error: {result.error_msg}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)

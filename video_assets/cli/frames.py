"""`video-assets frames …`: the decode engine alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json
from video_assets.plural import counted

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
    with errors_in_words(as_json):
        options = ImageOptions(image_format, longest_side=longest_side)
        result = extract_to_folder(video, out, policy, options, crop=box, shard=shard)
    if as_json:
        print_json(asdict(result))
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

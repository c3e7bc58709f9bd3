"""Finding frames."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json, print_table

if TYPE_CHECKING:
    from video_assets.settings import Settings

search_app = typer.Typer()


@search_app.command()
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
    with errors_in_words(as_json):
        settings = load_settings()
        if image is not None:
            found = search_image(settings, image, where=where, limit=limit, model=model)
        else:
            found = search_text(settings, str(text), where=where, limit=limit, model=model)
    if as_json:
        print_json([asdict(frame) for frame in found])
        return
    if not found:
        typer.echo(_why_nothing(settings, vehicle, camera, date), err=True)
        return
    print_table(
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

    with errors_in_words():
        known = known_sources(open_tables(settings))
    given = {"vehicle": (vehicle, known.vehicles), "camera": (camera, known.cameras), "day": (date, known.dates)}
    for kind, (name, names) in given.items():
        if name is not None and name not in names:
            shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
            return f"No frames of {kind} {name}; {kind}s are {shown}." if names else f"No frames of {kind} {name}."
    return "No frames fit all of these filters." if any((vehicle, camera, date)) else "No frames are indexed yet."

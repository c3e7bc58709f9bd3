"""`video-assets …`: thin commands over the package, a module for each kind."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated

import typer

from video_assets.cli.catalogue import catalogue_app
from video_assets.cli.downloads import downloads_app
from video_assets.cli.fleet import fleet_app
from video_assets.cli.frames import frames_app
from video_assets.cli.manifest import manifest_app
from video_assets.cli.search import search_app
from video_assets.cli.setup import setup_app
from video_assets.cli.upkeep import upkeep_app
from video_assets.errors import VideoAssetsError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
for commands in (setup_app, upkeep_app, search_app, downloads_app):
    app.add_typer(commands)
app.add_typer(manifest_app, name="manifest")
app.add_typer(frames_app, name="frames")
app.add_typer(fleet_app, name="fleet")
app.add_typer(catalogue_app, name="catalogue")


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
    from video_assets.environment import environment

    # boto3 reads the environment only. A `.env` that cannot be read is told by the command itself.
    with suppress(VideoAssetsError):
        for name, value in environment().items():
            if name.startswith("AWS_") and value is not None:
                os.environ.setdefault(name, value)

"""`video-assets manifest …`: the manifest without Dagster."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json

manifest_app = typer.Typer(no_args_is_help=True, help="The manifest without Dagster.")


@manifest_app.command("build")
def manifest_build(
    table: Annotated[str | None, typer.Option(help="Its name; VIDEO_ASSETS_FLAT_TABLE if not given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Writes every video of the source to an ODPS table of video_path, size_bytes and last_modified, as a whole."""
    from video_assets.settings import load_settings
    from video_assets.stages.flat_manifest import build_manifest
    from video_assets.table_store.odps_handle import open_handle

    with errors_in_words(as_json):
        settings = load_settings()
        # With tables in Parquet there is no other table that this name could mean.
        named = settings.video_input_table if settings.tables == "parquet" else None
        name = table or settings.flat_table or named
        if name is None:
            raise typer.BadParameter("give --table, or set VIDEO_ASSETS_FLAT_TABLE")
        built = build_manifest(
            open_handle(settings),
            settings.source_uri(),
            name,
            lifecycle=settings.manifest_lifecycle,
            extensions=settings.video_extensions,
            settle_s=settings.settle_s,
            report=lambda line: typer.echo(line, err=as_json),
        )
    if as_json:
        print_json(asdict(built))

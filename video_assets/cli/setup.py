"""Setting a deployment up: the demo, the services, and the doctor."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json

setup_app = typer.Typer()


@setup_app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where everything of the demo goes.")] = Path("demo"),
    videos: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="A folder of your own footage instead of ours.")
    ] = None,
    home: Annotated[
        str | None,
        typer.Option(help="Where tables, records and blobs go instead: a directory or URI (s3://bucket/home)."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Where the uploads are laid out instead: an empty directory or URI; or fleet-api, a fleet's batch API "
            "on this machine that gives ROS bags."
        ),
    ] = None,
    tables: Annotated[
        Literal["parquet", "odps"], typer.Option(help="What keeps the tables; odps needs ODPS_PROJECT and its like.")
    ] = "parquet",
) -> None:
    """Lays real footage out as a small fleet and runs the whole chain over it."""
    from video_assets.demo.home import DemoHome
    from video_assets.demo.walkthrough import run_demo

    with errors_in_words(), ExitStack() as until_done:
        demo_home = DemoHome(directory.resolve(), source, home, tables)
        if source == "fleet-api":
            from video_assets.demo.fleet import demo_fleet

            service = until_done.enter_context(demo_fleet(videos))
            demo_home = DemoHome(directory.resolve(), None, home, tables, service.url)
            os.environ["VIDEO_ASSETS_FLEET_TOKEN"] = service.token
        os.environ.update(demo_home.environment())
        try:
            failed = run_demo(demo_home, videos)
        except KeyboardInterrupt:
            typer.echo("\nStopped. Run again to go on.", err=True)
            raise typer.Exit(130) from None
    raise typer.Exit(1 if failed else 0)


@setup_app.command()
def up(
    home: Annotated[Path | None, typer.Option(help="DAGSTER_HOME; by default the one set, else .dagster_home.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the UI listens, on 127.0.0.1.")] = 3000,
) -> None:
    """Runs Dagster's webserver and daemon, until Ctrl-C; the home is made if it is not there."""
    from video_assets.dagster_home import home_folder
    from video_assets.settings import load_settings, resolved_environment

    with errors_in_words():
        variables = resolved_environment(load_settings())
        folder = home_folder(str(home) if home else variables.get("DAGSTER_HOME"))
        # Imported here, since it takes a second: a wrong setting is told at once.
        from video_assets.dagster_processes import serve

        # What dagster.yaml may name.
        os.environ.update(variables)

        def begin() -> None:
            # What keeps the code location from loading is told here: each process would write a traceback.
            import video_assets.definitions  # noqa: F401

            typer.echo(f"The UI: http://127.0.0.1:{port}  History: {folder}  Stop: Ctrl-C")

        serve(folder, port, variables, begin)


@setup_app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Checks every configured component; exits with 1 if one is broken."""
    from video_assets.doctor.examine import examine
    from video_assets.settings import load_settings

    marks = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failed": typer.colors.RED}
    with errors_in_words(as_json):
        findings = []
        for finding in examine(load_settings()):
            findings.append(finding)
            if not as_json:
                typer.secho(f"{finding.verdict:8}", fg=marks[finding.verdict], nl=False)
                typer.echo(f" {finding.component}: {finding.text}" + (f". {finding.remedy}" if finding.remedy else ""))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    raise typer.Exit(1 if any(finding.verdict == "failed" for finding in findings) else 0)

"""`video-assets catalogue …`: a Postgres table that drives the stages."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json, print_table
from video_assets.cli.stop_signals import stopped_by_signals
from video_assets.plural import counted

if TYPE_CHECKING:
    from video_assets.settings import Settings
    from video_assets.sources.catalogue.status import CatalogueStatus

_STOPPING = "Stopping: the records in hand are finished first. Once more ends at once; nothing is lost by that."

catalogue_app = typer.Typer(no_args_is_help=True, help="A Postgres table that says what videos there are.")


@catalogue_app.command("migrate")
def catalogue_migrate() -> None:
    """Makes the table if it is missing, its indexes, and the tables of attempts and checkpoints beside it."""
    from video_assets.settings import load_settings
    from video_assets.sources.catalogue.catalogue import open_database
    from video_assets.sources.catalogue.migrate import migrate

    with errors_in_words():
        settings = load_settings()
        with open_database(settings) as database:
            steps = migrate(database)
    typer.echo(f"{settings.catalogue_table} is ready: {', '.join(steps)}")


@catalogue_app.command("run")
def catalogue_run(
    batch_size: Annotated[int, typer.Option(min=1, max=100_000, help="Records claimed at a time.")] = 1000,
    max_workers: Annotated[int, typer.Option(min=1, max=256, help="Records worked on at a time.")] = 8,
    checkpoint: Annotated[
        Literal["table", "file"], typer.Option(help="Where progress is told: extraction_checkpoints, or a file.")
    ] = "table",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; tell what would be claimed.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="A line for each record.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Takes what is left through clips, frames and embeddings, newest first, and sets the flags. Ends when nothing is
    due; SIGINT or SIGTERM finishes the records in hand first."""
    from video_assets.settings import load_settings

    def say(line: str) -> None:
        typer.echo(line, err=as_json)

    with errors_in_words(as_json):
        settings = load_settings()
        if dry_run:
            _tell_what_is_due(settings, batch_size, as_json)
            return
        counts, was_stopped = _run(settings, batch_size, max_workers, checkpoint, say, say if verbose else _nobody)
    if as_json:
        print_json(counts | {"stopped": was_stopped})


@catalogue_app.command("status")
def catalogue_status(as_json: JsonOption = False) -> None:
    """How many records are done, in hand, waiting and failed; how fast; what waits longest; what failed last."""
    from video_assets.settings import load_settings
    from video_assets.sources.catalogue.catalogue import open_database
    from video_assets.sources.catalogue.status import catalogue_status as read_status

    with errors_in_words(as_json):
        settings = load_settings()
        with open_database(settings) as database:
            status = read_status(database, settings.max_attempts)
    if as_json:
        print_json(asdict(status))
    else:
        _show(status)


def _run(
    settings: Settings, batch_size: int, max_workers: int, checkpoint: str, say: Any, detail: Any
) -> tuple[dict[str, int], bool]:
    from video_assets.sources.catalogue.catalogue import open_claims, open_database, worker_name
    from video_assets.sources.catalogue.checkpoint import FileCheckpoint, TableCheckpoint
    from video_assets.sources.catalogue.lease import Lease
    from video_assets.sources.registry import open_source
    from video_assets.stages.catalogue_partition import PartitionVideos
    from video_assets.stages.catalogue_run import CatalogueRun
    from video_assets.stages.frames import require_sampling
    from video_assets.table_store.registry import open_tables

    stop, worker = threading.Event(), worker_name()
    require_sampling(settings)
    with ExitStack() as stack:
        database = stack.enter_context(open_database(settings, on_away=say, give_up=stop.is_set))
        claims = open_claims(settings, database, worker)
        renewing = open_claims(settings, open_database(settings, away_s=0), worker)
        lease = stack.enter_context(Lease(renewing, say))
        tables = open_tables(settings, create=True)
        run = CatalogueRun(
            PartitionVideos(open_source(settings), tables, settings),
            claims,
            lease,
            FileCheckpoint(settings.catalogue_checkpoint_file) if checkpoint == "file" else TableCheckpoint(database),
            batch_size,
            max_workers,
            stop,
            say,
            detail,
        )
        stack.enter_context(stopped_by_signals(stop, lambda: say(_STOPPING)))
        counts = run.run()
    say(f"{'Stopped' if stop.is_set() else 'Nothing more is due'}: {counts}.")
    return asdict(counts), stop.is_set()


def _tell_what_is_due(settings: Settings, batch_size: int, as_json: bool) -> None:
    """What the next batch would be, and where its videos are looked for; nothing is asked of them."""
    from video_assets.errors import VideoAssetsError
    from video_assets.sources.catalogue.catalogue import open_claims, open_database
    from video_assets.sources.catalogue.records import Places

    places = Places(settings)
    with open_database(settings) as database:
        records = open_claims(settings, database, "").peek(batch_size)
    rows = []
    for record in records:
        try:
            rows.append([record.code, places.partition(record).key, places.video(record), ""])
        except VideoAssetsError as error:
            rows.append([record.code, "", "", f"{error.item} {error.cause}"])
    if as_json:
        print_json([dict(zip(["code", "partition", "video", "fault"], row, strict=True)) for row in rows])
        return
    if rows:
        shown = 4 if any(row[-1] for row in rows) else 3
        print_table(["record", "partition", "video", "cannot be used"][:shown], [row[:shown] for row in rows])
    typer.echo(f"{counted(len(rows), 'record')} would be claimed in the next batch.")


def _show(status: CatalogueStatus) -> None:
    print_table(
        ["records", "downloaded", "extracted", "done", "in hand", "waiting", "failed", "given up", "done in 1 h"],
        [[status.records, status.downloaded, status.extracted, *status.states.values(), status.per_hour]],
    )
    if status.oldest is not None:
        told = f"of {status.oldest.publish_date}" if status.oldest.publish_date else "without publish_date"
        since = (
            f", in the table since {status.oldest.created_at:%Y-%m-%d %H:%M} UTC" if status.oldest.created_at else ""
        )
        typer.echo(f"oldest waiting: {status.oldest.code} {told}{since}")
    if status.next_at is not None:
        typer.echo(f"next attempt of what failed or is too young: {status.next_at:%Y-%m-%d %H:%M:%S} UTC")
    for failure in status.failures:
        again = f"again {failure.next_at:%Y-%m-%d %H:%M} UTC" if failure.next_at else "not tried again"
        where = f"failed {failure.code} [{failure.stage}, {counted(failure.attempts, 'attempt')}, {again}]"
        typer.echo(f"{where}: {failure.message}")


def _nobody(line: str) -> None:
    pass

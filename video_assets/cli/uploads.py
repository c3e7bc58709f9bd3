"""`video-assets upload …`: video files of an edge machine's folder onto a store."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from video_assets.cli.output import JsonOption, errors_in_words, print_json, print_table
from video_assets.cli.stop_signals import stopped_by_signals

if TYPE_CHECKING:
    from video_assets.storage.object_store import ObjectStore
    from video_assets.uploads.checkpoint import Checkpoint

upload_app = typer.Typer(no_args_is_help=True, help="Video files of a watched folder onto a store.")

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The watched folder.")]
ToOption = Annotated[str, typer.Option("--to", help="Where to: s3://bucket/prefix, oss://…, file://… or a folder.")]
CheckpointOption = Annotated[
    str | None,
    typer.Option(help="Where uploads under way are written down: sqlite:///PATH or redis://…; else the store's own."),
]
LayoutOption = Annotated[
    Literal["files", "chunks"], typer.Option(help="An object for each file, or STREAM_ID/chunk_000000.bin, ….")
]
SettleOption = Annotated[
    float, typer.Option("--settle", min=0, help="Seconds that a file has to be still before it is ready.")
]
IncompleteOption = Annotated[
    float, typer.Option("--incomplete-after", min=0, help="Seconds after which one without moov goes to incomplete/.")
]


@upload_app.command("watch")
def upload_watch(
    folder: FolderArgument,
    to: ToOption,
    layout: LayoutOption = "files",
    follow: Annotated[bool, typer.Option("--follow", help="Send parts of files while they grow.")] = False,
    settle_s: SettleOption = 10.0,
    incomplete_after_s: IncompleteOption = 600.0,
    part_bytes: Annotated[int, typer.Option(min=1, help="Bytes of a part, or of a chunk.")] = 10_485_760,
    connections: Annotated[int, typer.Option(min=1, max=32, help="Parts sent at a time.")] = 4,
    limit: Annotated[int | None, typer.Option(min=1, help="Bytes a second that are sent at most.")] = None,
    checkpoint: CheckpointOption = None,
    delete_after: Annotated[
        bool, typer.Option("--delete-after", help="Delete files once the store confirms length and checksum.")
    ] = False,
    rescan_s: Annotated[float, typer.Option("--rescan", min=1, help="Seconds between looks into the folder.")] = 30.0,
    abandoned_after_h: Annotated[
        float,
        typer.Option("--abandoned-after", min=1, help="Hours after which uploads of files long gone are aborted."),
    ] = 168.0,
) -> None:
    """Uploads what lies in a folder and what comes into it, for as long as it runs. SIGTERM and Ctrl-C end it; once
    more, at once.
    """
    from video_assets.uploads.errors import Stopped
    from video_assets.uploads.patience import Patience
    from video_assets.uploads.tools import WatchOptions
    from video_assets.uploads.watch import Watcher

    with errors_in_words():
        _log()
        options = WatchOptions(
            part_bytes=part_bytes,
            connections=connections,
            settle_s=settle_s,
            incomplete_after_s=incomplete_after_s,
            is_followed=follow,
            layout=layout,
            is_deleted_after=delete_after,
            bytes_s=limit,
            rescan_s=rescan_s,
            abandoned_after_s=abandoned_after_h * 3600,
            extensions=_extensions(),
        )
        stop = Event()
        with stopped_by_signals(stop), suppress(Stopped):
            places = Patience(stop).until_done("store", lambda: _places(folder, to, checkpoint))
            Watcher(*places, options, stop).run()
    # A part that is still on its way must not hold up the end; it is sent again.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@upload_app.command("status")
def upload_status_command(
    folder: FolderArgument,
    to: ToOption,
    layout: LayoutOption = "files",
    settle_s: SettleOption = 10.0,
    incomplete_after_s: IncompleteOption = 600.0,
    checkpoint: CheckpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tells of each file of a folder how far it is, whether a watcher runs or not."""
    from dataclasses import asdict

    from video_assets.uploads.status import upload_status
    from video_assets.uploads.tools import WatchOptions

    with errors_in_words(as_json):
        options = WatchOptions(
            settle_s=settle_s, incomplete_after_s=incomplete_after_s, layout=layout, extensions=_extensions()
        )
        found = list(upload_status(*_places(folder, to, checkpoint), options))
    if as_json:
        print_json([asdict(status) for status in found])
        return
    if not found:
        typer.echo(f"no video files in {folder}")
        return
    rows = [[s.name, s.state, f"{s.sent_bytes / 1e6:.2f} of {s.size / 1e6:.2f} MB", s.uri] for s in found]
    print_table(["file", "state", "in the store", "uri"], rows)


def _places(folder: Path, to: str, checkpoint: str | None) -> tuple[Path, ObjectStore, Checkpoint]:
    """The folder, the store and the checkpoint that were named."""
    from video_assets.settings import load_settings
    from video_assets.storage.registry import open_store
    from video_assets.uploads.checkpoint import open_checkpoint
    from video_assets.uploads.places import check_places

    folder = folder.expanduser().absolute()
    uri = to if "://" in to else str(Path(to).expanduser().absolute())
    check_places(folder, uri)
    store = open_store(uri)
    set_one = load_settings().upload_checkpoint
    named = checkpoint or (set_one.get_secret_value() if set_one else None)
    return folder, store, open_checkpoint(named, store, folder)


def _extensions() -> tuple[str, ...]:
    from video_assets.settings import load_settings

    return load_settings().video_extensions


def _log() -> None:
    """One line each on stderr, as journald and docker take them."""
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("video_assets").setLevel(logging.INFO)

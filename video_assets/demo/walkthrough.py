"""The demo from beginning to end, told as it goes."""

from __future__ import annotations

import shlex
import sys
import time
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from video_assets.dagster_home import home_errors, refuse_file
from video_assets.demo.footage import lay_out, packaged_videos, videos_in
from video_assets.demo.home import DemoHome
from video_assets.demo.uploads import lay_out_at
from video_assets.search.query import search_text
from video_assets.settings import Settings, load_settings
from video_assets.sources.registry import open_source
from video_assets.stages.fleet_windows import draw_availability
from video_assets.stages.frames import draw_contact_sheet
from video_assets.stages.status import chain_status
from video_assets.storage.registry import open_store
from video_assets.table_store.registry import open_tables
from video_assets.table_store.table_store import TableStore
from video_assets.tables import FLEET_WINDOWS, FRAMES
from video_assets.vectors.vector_index import PointFilter

QUERY = "rabbit"


def run_demo(home: DemoHome, videos: Path | None) -> int:
    """Lays out, materializes and shows. Returns how many runs failed: planted faults fail rows, not runs.

    Raises:
        VideoAssetsError: no footage, or a folder, disk or history that cannot be used.
    """
    from video_assets.defs.history import history_errors

    refuse_file(home.root)
    with home_errors(home.root), history_errors(home.root):
        return _run_demo(home, videos)


def _run_demo(home: DemoHome, videos: Path | None) -> int:
    console = Console(highlight=False, soft_wrap=True)
    begun = time.monotonic()
    settings = load_settings()
    home.refuse_other()
    footage = _lay_out(home, videos, settings) if settings.has_source else _fleet(settings)
    home.write()
    console.print(footage)
    before = objects(settings)
    failed = _materialize(console)
    after = objects(settings)
    written = sum(before.get(key) != etag for key, etag in after.items())
    console.print(f"\nObjects written: {written}. Seconds: {time.monotonic() - begun:.1f}\n")
    tables = open_tables(settings)
    _print_stages(console, tables, settings)
    if settings.has_source:
        _print_passed_over(console, settings)
    if videos is None:
        _print_search(console, settings)
    _draw(home, tables)
    _draw_availability(console, home, tables, settings)
    _print_where_to_look(console, home)
    return failed


def _lay_out(home: DemoHome, videos: Path | None, settings: Settings) -> str:
    sources = packaged_videos() if videos is None else videos_in(videos, settings.video_extensions)
    if home.source is None:
        count = lay_out(sources, home.uploads, settings.template())
    else:
        count = lay_out_at(sources, settings.source_uri(), settings.template())
    return f"{count} uploads of a small fleet, one corrupt and one empty among them: {settings.source_uri()}"


def _fleet(settings: Settings) -> str:
    asked = f"{' and '.join(settings.fleet_vehicles)}, cameras {' and '.join(settings.fleet_cameras)}"
    return f"A fleet's batch API on {settings.fleet_url}, asked for the newest day of {asked}"


def objects(settings: Settings) -> dict[str, str]:
    """Every object of the store with its version; an object written again has another."""
    store = open_store(settings.store, create=True)
    return {info.key: info.etag for info in store.list()}


def _materialize(console: Console) -> int:
    # Imported late: the code location reads the settings when it loads.
    from video_assets.definitions import defs
    from video_assets.defs.launch import materialize_source

    failed = 0
    for run in materialize_source(defs, begin=lambda what: console.print(f"  {what} ", end="")):
        console.print("done" if run.success else "[red]failed[/red]: " + "; ".join(run.errors))
        failed += not run.success
    return failed


def _print_stages(console: Console, tables: TableStore, settings: Settings) -> None:
    stages, failures = chain_status(tables, settings)
    table = Table("stage", "partitions", "ok", "failed", "filtered", box=None, header_style="bold")
    for stage in stages:
        table.add_row(*(str(v) for v in (stage.stage, stage.partitions, stage.ok, stage.failed, stage.filtered)))
    console.print(table)
    for failure in failures:
        console.print(f"[yellow]failed[/yellow] {failure.stage} {failure.partition}: {failure.error_msg}")


def _print_passed_over(console: Console, settings: Settings) -> None:
    listing = open_source(settings)
    for _ in listing.everything():
        pass
    for reason, count in sorted(listing.skipped.items()):
        if count:
            console.print(f"[yellow]skipped[/yellow] {count} upload: {reason}")
    for upload in listing.unmatched:
        console.print(f"[yellow]unmatched[/yellow] {listing.store.uri_of(upload.info.key)}: {upload.reason}")


def _print_search(console: Console, settings: Settings) -> None:
    console.print(f"\nvideo-assets search {QUERY}")
    for frame in search_text(settings, QUERY, where=PointFilter(), limit=3):
        labels = ", ".join(frame.labels[:2])
        when = f"{frame.captured_at:%F %T}" if frame.captured_at else ""
        console.print(f"  {frame.score:.3f}  {frame.vehicle} {frame.camera} {when}  {labels}")


def _draw(home: DemoHome, tables: TableStore) -> None:
    rows = {partition: tables.read(FRAMES, partition) for partition in islice(tables.partitions(FRAMES), 100)}
    sheet = draw_contact_sheet(rows)
    if sheet is not None:
        home.contact_sheet.write_bytes(sheet)


def _draw_availability(console: Console, home: DemoHome, tables: TableStore, settings: Settings) -> None:
    """The newest day of the first vehicle of a fleet's batch API."""
    for partition in islice(tables.partitions(FLEET_WINDOWS), 1) if settings.has_fleet else ():
        rows = tables.read(FLEET_WINDOWS, partition)
        image = draw_availability(partition, rows, settings)
        if image is not None:
            home.availability.write_bytes(image)
            console.print(f"\nWhat the fleet's batch API had: {home.availability}", end="")


def _print_where_to_look(console: Console, home: DemoHome) -> None:
    folder, commands = shlex.quote(str(home.root)), Path(sys.executable).parent
    video_assets = shlex.quote(str(commands / "video-assets"))
    console.print(f"\nContact sheet: {home.contact_sheet}")
    console.print("The UI on http://127.0.0.1:3000, on this data with its history:")
    console.print(f"  cd {folder} && {video_assets} up")
    if home.fleet_url is not None:
        console.print("(The fleet's batch API ended with this command; run it again to ask once more.)")
    console.print(f"More:\n  cd {folder} && {video_assets} search minivan\n  cd {folder} && {video_assets} doctor")

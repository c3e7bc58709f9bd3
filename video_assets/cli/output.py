"""How commands tell what they found: errors in words, tables, and JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from video_assets.errors import VideoAssetsError
from video_assets.plural import counted

if TYPE_CHECKING:
    from video_assets.downloads.fetch import Progress

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@contextmanager
def errors_in_words(as_json: bool = False) -> Iterator[None]:
    """An error that a person can mend is printed as such, and exits with 1; for scripts on stdout too, as JSON."""
    try:
        yield
    except VideoAssetsError as error:
        if as_json:
            print_json({"error": {"item": error.item, "cause": error.cause, "remedy": error.remedy}})
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


def print_json(value: Any) -> None:
    """Prints a value for scripts."""
    json.dump(value, sys.stdout, indent=2, default=str, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(columns: list[str], rows: list[list[Any]]) -> None:
    """Prints rows for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 240, highlight=False).print(table)


@contextmanager
def transfer_progress() -> Iterator[Callable[[Progress], None]]:
    """A line on a terminal that says how many files are done."""
    from rich.console import Console

    with Console(stderr=True).status("Looking at what there is") as line:

        def report(progress: Progress) -> None:
            failed = f", {progress.failed} failed" if progress.failed else ""
            size = f"{progress.bytes_done / 1e6:.0f} MB"
            line.update(f"{progress.done} of {counted(progress.files, 'file')}, {size}{failed}")

        yield report

"""How commands tell what they found: errors in words, tables, and JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from video_assets.errors import VideoAssetsError

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

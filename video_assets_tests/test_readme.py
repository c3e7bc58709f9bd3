"""The tables of the README and of its pages are those of the code. Run this file to print what they should be."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic_core import PydanticUndefined
from typer.models import CommandInfo

from video_assets.cli import app
from video_assets.settings import Settings, variable
from video_assets.settings.catalogue import CatalogueSettings
from video_assets.settings.clouds import OdpsSettings, OssSettings
from video_assets.settings.fleet import FleetSettings
from video_assets.settings.frames import FramesSettings
from video_assets.tables import ALL

README = Path(__file__).parents[1] / "README.md"
PAGES = [README, *sorted((README.parent / "docs").glob("*.md"))]


PARTS = [
    set(part.model_fields) for part in (FramesSettings, FleetSettings, CatalogueSettings, OssSettings, OdpsSettings)
]
GROUPS = [set(Settings.model_fields).difference(*PARTS), *PARTS]
"""Fields that have a table of their own."""


def settings_table(group: set[str]) -> str:
    lines = []
    for name, field in Settings.model_fields.items():
        if name not in group:
            continue
        default = field.default if field.default is not PydanticUndefined else "CPU cores"
        shown = ",".join(default) if isinstance(default, tuple) else "" if default is None else str(default)
        lines.append(f"| `{variable(name)}` | {field.description} | {f'`{shown}`' if shown else ''} |")
    return "\n".join(lines)


def tables_table() -> str:
    return "\n".join(f"| `{table.name}` | {table.description} |" for table in ALL)


def test_every_setting_is_on_a_page() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    assert all(settings_table(group) in pages for group in GROUPS)


def test_the_settings_in_the_readme_are_those_of_their_page() -> None:
    rows = [line for line in README.read_text().splitlines() if re.match(r"\| `VIDEO_", line)]
    assert rows
    assert set(rows) <= set(settings_table(set(Settings.model_fields)).splitlines())


def test_every_link_leads_to_a_page() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).is_file(), f"{page.name}: {link}"


def test_every_table_is_in_the_readme() -> None:
    assert tables_table() in README.read_text()


def test_every_command_is_in_the_readme() -> None:
    names = {str(command.callback.__name__) for command in app.registered_commands if command.callback}
    groups = [str(group.name) for group in app.registered_groups if isinstance(group.name, str)]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        # One without a name only keeps its commands in a module of their own.
        prefix = f"{group.name} " if isinstance(group.name, str) else ""
        names |= {f"{prefix}{_name(command)}" for command in group.typer_instance.registered_commands}
    found = re.findall(rf"`video-assets ((?:(?:{'|'.join(groups)}) )?[a-z-]+)", README.read_text())
    assert set(found) == names


def _name(command: CommandInfo) -> str:
    return command.name or str(command.callback.__name__ if command.callback else "")


if __name__ == "__main__":
    print(*map(settings_table, GROUPS), tables_table(), sep="\n\n")

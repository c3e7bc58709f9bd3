"""The README's tables are those of the code. Run this file to print what they should be."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

from video_assets.cli import app
from video_assets.cloud_settings import OssSettings
from video_assets.settings import Settings, variable
from video_assets.tables import ALL

README = Path(__file__).parents[1] / "README.md"


GROUPS = (set(Settings.model_fields) - set(OssSettings.model_fields), set(OssSettings.model_fields))
"""Fields that have a table of their own in the README."""


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


def test_every_setting_is_in_the_readme() -> None:
    assert all(settings_table(group) in README.read_text() for group in GROUPS)


def test_every_table_is_in_the_readme() -> None:
    assert tables_table() in README.read_text()


def test_every_command_is_in_the_readme() -> None:
    names = {str(command.callback.__name__) for command in app.registered_commands if command.callback}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names |= {f"{group.name} {command.name}" for command in group.typer_instance.registered_commands}
    groups = "|".join(str(group.name) for group in app.registered_groups)
    assert set(re.findall(rf"`video-assets ((?:(?:{groups}) )?[a-z]+)", README.read_text())) == names


if __name__ == "__main__":
    print(*map(settings_table, GROUPS), tables_table(), sep="\n\n")

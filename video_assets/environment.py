"""The environment and `.env`. Nothing else reads `os.environ`, and nothing heavy is imported for it."""

from __future__ import annotations

import io
import os
from pathlib import Path

from video_assets.errors import VideoAssetsError


class SettingsError(VideoAssetsError):
    """A setting that is wrong, unknown or missing. `item` is the environment variable, or the file it is in."""


def environment() -> dict[str, str | None]:
    """The environment on top of `.env` in the working directory.

    Raises:
        SettingsError: `.env` cannot be read.
    """
    return {**_dot_env(), **os.environ}


def _dot_env() -> dict[str, str | None]:
    path = Path(".env")
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(str(path.absolute()), "is not UTF-8", "Save it as UTF-8.") from None
    except OSError as error:
        raise SettingsError(str(path.absolute()), f"cannot be read: {error.strerror}", "Give the permission.") from None
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    # Its reader logs such a line without the file's name, and goes on without it.
    for line in parse_stream(io.StringIO(text)):
        if line.error:
            where = f"{path.absolute()} line {line.original.line}"
            raise SettingsError(where, "cannot be read", "Write NAME=value, and close what quotes you open.")
    return dotenv_values(stream=io.StringIO(text))

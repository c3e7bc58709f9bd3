"""A DAGSTER_HOME that is right: the folder that keeps Dagster's history, with our dagster.yaml and workspace.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from video_assets.errors import VideoAssetsError

FILES = ("dagster.yaml", "workspace.yaml")

DEFAULT = ".dagster_home"
"""The home in the working directory, where DAGSTER_HOME is not set."""


class HomeUnusable(VideoAssetsError):
    """The home cannot be made or written to."""


def home_folder(configured: str | None) -> Path:
    """The home that DAGSTER_HOME, or its absence, means."""
    return Path(configured or DEFAULT).expanduser().absolute()


def prepare_home(home: Path) -> None:
    """Makes the folder, with our dagster.yaml and workspace.yaml where it has none of its own.

    Raises:
        HomeUnusable: it is a file, or cannot be written to.
    """
    refuse_file(home)
    with home_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if not (home / name).exists():
                (home / name).write_text(_project_file(name))


def refuse_file(home: Path) -> None:
    """Raises `HomeUnusable` where the home is a file."""
    if home.exists() and not home.is_dir():
        raise HomeUnusable(str(home), "is a file, not a folder", "Name a folder.")


@contextmanager
def home_errors(home: Path) -> Iterator[None]:
    """Types what the system says about files that are made in the home."""
    try:
        yield
    except OSError as error:
        cause = f"cannot be written to: {error.strerror or error}"
        raise HomeUnusable(
            str(error.filename or home), cause, "Free space, give this user the permission, or name another folder."
        ) from error


def _project_file(name: str) -> str:
    """A file of the project's top level; a wheel carries it in the package."""
    packaged = files("video_assets") / "project" / name
    return (packaged if packaged.is_file() else Path(__file__).parents[1] / name).read_text()

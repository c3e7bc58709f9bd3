"""A DAGSTER_HOME that is right, and Dagster's two processes on it: the webserver and the daemon."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import FrameType

from video_assets.errors import VideoAssetsError

STOP_WAIT_S = 20.0
"""How long a process that was told to stop may take."""

FILES = ("dagster.yaml", "workspace.yaml")


class DagsterStopped(VideoAssetsError):
    """One of Dagster's processes ended by itself."""


def prepare_home(home: Path) -> None:
    """Makes the folder, with our dagster.yaml and workspace.yaml where it has none of its own."""
    home.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if not (home / name).exists():
            (home / name).write_text(_project_file(name))


def serve(home: Path, port: int, environment: Mapping[str, str]) -> None:
    """Runs webserver and daemon on `home` until SIGINT or SIGTERM, then stops both.

    Raises:
        DagsterStopped: one of them ended by itself; the other is stopped.
    """
    prepare_home(home)
    workspace = str(home / "workspace.yaml")
    commands = {
        "dagster-webserver": ["-w", workspace, "-h", "127.0.0.1", "-p", str(port)],
        "dagster-daemon": ["run", "-w", workspace],
    }
    children = {
        name: subprocess.Popen(
            [str(Path(sys.executable).with_name(name)), *arguments],
            env={**environment, "DAGSTER_HOME": str(home)},
            # A session of its own, so that Ctrl-C reaches it through us, once, and its own children can be found.
            start_new_session=True,
        )
        for name, arguments in commands.items()
    }
    try:
        _wait(children)
    finally:
        _stop(list(children.values()))


def _wait(children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Returns at a signal; raises when a child ends."""
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not told:
            for name, child in children.items():
                if child.poll() is not None:
                    remedy = "Read its last lines above; `video-assets doctor` checks the configuration."
                    raise DagsterStopped(name, f"ended with status {child.returncode}", remedy)
            time.sleep(0.2)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_WAIT_S
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.1, deadline - time.monotonic()))
        # Code servers that outlive their parent would hold the store's locks and the index.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _project_file(name: str) -> str:
    """A file of the project's top level; a wheel carries it in the package."""
    packaged = files("video_assets") / "project" / name
    return (packaged if packaged.is_file() else Path(__file__).parents[1] / name).read_text()

"""Dagster's two processes on one DAGSTER_HOME: the webserver and the daemon."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TextIO

from video_assets.dagster_home import home_errors, prepare_home
from video_assets.defs.history import make_history
from video_assets.errors import VideoAssetsError

STOP_WAIT_S = 20.0
"""How long a process that was told to stop may take."""

WORKING_FOLDER = ".up"
"""In the home: where both processes run, and the lock of the `up` that runs them, with the numbers of all three.
Dagster puts a `.env` of the working directory over the environment; here is none."""


class DagsterStopped(VideoAssetsError):
    """One of Dagster's processes ended by itself."""


class AlreadyRunning(VideoAssetsError):
    """Another `up` has this home."""


class PortTaken(VideoAssetsError):
    """The UI cannot listen where it should."""


def serve(home: Path, port: int, environment: Mapping[str, str], begin: Callable[[], None]) -> None:
    """Runs webserver and daemon on `home` until SIGINT or SIGTERM, then stops both.

    Args:
        home: the DAGSTER_HOME, made where it is missing.
        port: where the UI listens, on 127.0.0.1.
        environment: all that the processes are given. Paths in it must be absolute.
        begin: called right before they start.

    Raises:
        HomeUnusable: the home cannot be made or written to.
        AlreadyRunning: another `up` runs on it.
        PortTaken: the port is in use or not permitted.
        HistoryUnusable: the home's databases cannot be opened.
        DagsterStopped: one of them ended by itself; the other is stopped.
    """
    prepare_home(home)
    with _alone_on(home) as lock:
        _require_port(port)
        make_history(home)
        begin()
        with _noted_signals() as told:
            children = _start(home, port, environment, lock)
            try:
                _note(lock, *(child.pid for child in children.values()))
                _wait(children, told)
            finally:
                _stop(list(children.values()))


@contextlib.contextmanager
def _alone_on(home: Path) -> Iterator[TextIO]:
    """Holds the home by a lock that Dagster's processes share: the kernel gives it back when the last of them is dead,
    however this process dies. Two daemons on one home would start everything twice.
    """
    with home_errors(home):
        (home / WORKING_FOLDER).mkdir(exist_ok=True)
        lock = (home / WORKING_FOLDER / "lock").open("a+")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise _already_running(home, lock.read().split()) from None
        with home_errors(home):
            lock.truncate(0)
            _note(lock, os.getpid())
        yield lock


def _note(lock: TextIO, *processes: int) -> None:
    lock.write("".join(f"{process}\n" for process in processes))
    lock.flush()


def _already_running(home: Path, processes: list[str]) -> AlreadyRunning:
    first, *children = processes or [""]
    if children and not _is_alive(first):
        left = " ".join(children)
        cause = f"Dagster's processes of an `up` that was killed are still running on this home ({', '.join(children)})"
        return AlreadyRunning(str(home), cause, f"Stop them with `kill {left}`, then start again.")
    cause = f"`video-assets up` is already running on this home (process {first})"
    return AlreadyRunning(str(home), cause, "Use that one, stop it, or give another --home.")


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _require_port(port: int) -> None:
    with socket.socket() as probe:
        # As the webserver does: a port whose connections are only lingering is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            cause = "is taken" if taken else f"cannot be used: {error.strerror}"
            other = port + 1 if 1024 <= port < 65535 else 3000
            remedy = f"Use --port {other}" + (", or stop the other `up`." if taken else ".")
            raise PortTaken(f"port {port}", cause, remedy) from None


def _start(home: Path, port: int, environment: Mapping[str, str], lock: TextIO) -> dict[str, subprocess.Popen[bytes]]:
    workspace = str(home / "workspace.yaml")
    # Ticks and runs are in the UI; the terminal is for what went wrong.
    quiet = ["--code-server-log-level", "warning"]
    commands = {
        "dagster-webserver": [
            "-w",
            workspace,
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "--dagster-log-level",
            "warning",
            *quiet,
        ],
        "dagster-daemon": ["run", "-w", workspace, "--log-level", "warning", *quiet],
    }
    return {
        name: subprocess.Popen(
            [str(Path(sys.executable).with_name(name)), *arguments],
            cwd=home / WORKING_FOLDER,
            env={**environment, "DAGSTER_HOME": str(home)},
            # A session of its own, so that Ctrl-C reaches it through us, once, and its own children can be found.
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
        for name, arguments in commands.items()
    }


@contextlib.contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """The signals to stop that have come. Children that are started meanwhile have the system's own handling of both:
    a script's background processes begin with SIGINT ignored, and Dagster's would then ignore SIGTERM as well.
    """
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(children: Mapping[str, subprocess.Popen[bytes]], told: list[int]) -> None:
    """Returns at a signal; raises when a child ends."""
    while not told:
        for name, child in children.items():
            if child.poll() is not None:
                remedy = "Read its last lines above; `video-assets doctor` checks the configuration."
                raise DagsterStopped(name, f"ended with status {child.returncode}", remedy)
        time.sleep(0.2)


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

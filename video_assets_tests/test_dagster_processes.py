"""`up` before Dagster's processes start: the home, its history, the port, and who else is there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from video_assets import dagster_processes
from video_assets.dagster_home import HomeUnusable
from video_assets.dagster_processes import AlreadyRunning, PortTaken, serve

HOLD = "import sys; from pathlib import Path; from video_assets.dagster_processes import _alone_on\n"
HOLD += "with _alone_on(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"


class Started(Exception):
    """A process would have started now."""


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How the first process would have been started; it is not."""
    how: dict[str, Any] = {}

    def start(command: list[str], **options: Any) -> None:
        how.update(options, command=command, sigint=signal.getsignal(signal.SIGINT))
        raise Started

    monkeypatch.setattr(dagster_processes, "subprocess", SimpleNamespace(Popen=start))
    return how


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_history_is_made_before_webserver_and_daemon_could_both_make_it(tmp_path: Path, starts: dict[str, Any]) -> None:
    with pytest.raises(Started):
        serve(tmp_path / "home", free_port(), {}, begin=print)
    assert (tmp_path / "home" / "schedules" / "schedules.db").is_file()
    assert (tmp_path / "home" / "history" / "runs.db").is_file()


def test_processes_run_where_no_dot_env_is_put_over_the_environment(tmp_path: Path, starts: dict[str, Any]) -> None:
    (tmp_path / ".env").write_text("DAGSTER_HOME=/elsewhere\n")
    with pytest.raises(Started):
        serve(tmp_path, free_port(), {"DAGSTER_HOME": "/other", "VIDEO_ASSETS_WORKERS": "3"}, begin=print)
    assert starts["env"] == {"DAGSTER_HOME": str(tmp_path), "VIDEO_ASSETS_WORKERS": "3"}
    assert not (Path(starts["cwd"]) / ".env").exists()


def test_processes_of_an_up_in_the_background_of_a_script_heed_signals(tmp_path: Path, starts: dict[str, Any]) -> None:
    """A handler is not inherited; that a signal is ignored is."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(Started):
            serve(tmp_path, free_port(), {}, begin=print)
    finally:
        signal.signal(signal.SIGINT, before)
    assert starts["sigint"] != signal.SIG_IGN


def test_the_terminal_is_for_what_went_wrong(tmp_path: Path, starts: dict[str, Any]) -> None:
    with pytest.raises(Started):
        serve(tmp_path, free_port(), {}, begin=print)
    command = " ".join(starts["command"])
    assert "--dagster-log-level warning" in command
    assert "--code-server-log-level warning" in command
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.python_log_level == "INFO", "Dagster's own level for runs is DEBUG"


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path, starts: dict[str, Any]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port}: is taken. Use --port {port + 1}, or stop the other `up`"):
            serve(tmp_path, port, {}, begin=print)
    assert not starts


def test_a_second_up_on_a_home_is_refused_and_one_that_was_killed_blocks_nobody(
    tmp_path: Path, starts: dict[str, Any]
) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdin is not None
    with first.stdin, first.stdout:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning, match=rf"already running on this home \(process {first.pid}\)"):
            serve(tmp_path, free_port(), {}, begin=print)
        first.kill()
        first.wait()
    with pytest.raises(Started):
        serve(tmp_path, free_port(), {}, begin=print)


def test_bug_two_daemons_ran_on_the_home_of_an_up_that_was_killed(tmp_path: Path, starts: dict[str, Any]) -> None:
    orphan = "import subprocess, sys; from pathlib import Path\n"
    orphan += "from video_assets.dagster_processes import _alone_on, _note\n"
    orphan += "with _alone_on(Path(sys.argv[1])) as lock:\n"
    orphan += "    child = subprocess.Popen(['sleep', '60'], pass_fds=[lock.fileno()], stdout=subprocess.DEVNULL)\n"
    orphan += "    _note(lock, child.pid)\n    print(child.pid, flush=True)\n    sys.stdin.read()"
    command = [sys.executable, "-c", orphan, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        child = int(first.stdout.readline())
        first.kill()
    try:
        with pytest.raises(AlreadyRunning, match=rf"`up` that was killed .* Stop them with `kill {child}`"):
            serve(tmp_path, free_port(), {}, begin=print)
        assert not starts
    finally:
        os.kill(child, signal.SIGKILL)
    with pytest.raises(Started):
        _once_free(tmp_path)


def _once_free(home: Path) -> None:
    """Starts as soon as the kernel has given the lock of a process back that was just killed."""
    for _ in range(100):
        try:
            serve(home, free_port(), {}, begin=print)
        except AlreadyRunning:
            time.sleep(0.05)


@pytest.mark.parametrize("name", ["file", "/proc/no_home"])
def test_a_home_that_cannot_be_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(HomeUnusable, match=r"is a file, not a folder|cannot be written to"):
        serve(tmp_path / name, free_port(), {}, begin=print)

"""Functions that the tests run in workers: good ones and every way to go wrong."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from video_assets.errors import VideoAssetsError

calls_in_this_worker = 0


class StagedError(VideoAssetsError):
    stage = "decode"
    retryable = False


class AwkwardError(Exception):
    """Pickles, but does not unpickle: its `__init__` wants other arguments than `args` holds."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right} do not match")


class LockedError(Exception):
    """Does not pickle."""

    def __init__(self) -> None:
        super().__init__("holds an open file")
        self.handle = sys.stderr


class UnpicklesBadly:
    def __reduce__(self) -> tuple[Any, ...]:
        return (_refuse, ())


class DiesWhilePickled:
    def __reduce__(self) -> NoReturn:
        os._exit(0)


def _refuse() -> NoReturn:
    raise RuntimeError("this value does not come back")


def double(number: int) -> int:
    return 2 * number


def hang_at_2(number: int) -> int:
    if number == 2:
        time.sleep(600)
    return number


def process_id(_: object) -> int:
    return os.getpid()


def count_calls(_: object) -> tuple[int, int]:
    global calls_in_this_worker
    calls_in_this_worker += 1
    return os.getpid(), calls_in_this_worker


def read_variable(name: str) -> str | None:
    return os.environ.get(name)


def zeros(size: int) -> bytes:
    return bytes(size)


def run_child_process(pid_file: Path) -> None:
    child = subprocess.Popen(["sleep", "600"])
    pid_file.write_text(f"{os.getpid()} {child.pid}")
    child.wait()


def run_child_or_wait(paths: tuple[Path | None, Path | None]) -> None:
    """Run a child process that writes to the first path, or wait for the second."""
    child, other = paths
    if child is not None:
        run_child_process(child)
    if other is not None:
        wait_for(other)


def block_in_c(pid_file: Path) -> None:
    """Never return, and hold the GIL: no thread and no Python signal handler runs any more."""
    child = subprocess.Popen(["sleep", "600"])
    pid_file.write_text(f"{os.getpid()} {child.pid}")
    sys.setswitchinterval(1000)
    10 ** (10**9)


def fork_and_die(_: object) -> None:
    """Leave a forked process behind that keeps the worker's sockets open."""
    if os.fork() == 0:
        time.sleep(600)
    os._exit(7)


def wait_for(path: Path) -> str:
    """Return once `path` exists: the test decides when an item ends."""
    while not path.exists():
        time.sleep(0.01)
    return path.name


def meet(names: tuple[Path, Path]) -> bool:
    """Write the first path and wait for the second: returns only while both items run at the same time."""
    names[0].touch()
    wait_for(names[1])
    return True


def meet_and_fill(names: tuple[Path, Path]) -> bytes:
    """As `meet`, with a result that does not fit into a socket's buffer."""
    meet(names)
    return bytes(5_000_000)


def refuse_first(path: Path) -> int:
    """Fail where `path` is missing, and make it."""
    if not path.exists():
        path.touch()
        raise ValueError("not yet")
    return os.getpid()


def announce(number: int) -> int:
    print("announced\n", end="")  # one write: two workers share the stream
    return number


def misbehave(way: str) -> object:
    """Go wrong in the way that is asked for."""
    match way:
        case "fine":
            return way
        case "segfault":
            ctypes.string_at(0)
        case "exit 0":
            os._exit(0)
        case "exit 3":
            os._exit(3)
        case "sys.exit":
            sys.exit("leaving")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die in the answer":
            return DiesWhilePickled()
        case "close all files":
            os.closerange(3, 256)
            time.sleep(600)
        case "sleep":
            time.sleep(600)
        case "busy":
            10 ** (10**9)
        case "eat memory":
            return len(bytearray(8 << 30))
        case "return a lambda":
            return lambda: None
        case "return a bad value":
            return UnpicklesBadly()
        case "raise awkward":
            raise AwkwardError(1, 2)
        case "raise locked":
            raise LockedError
        case "raise staged":
            raise StagedError("clip-7", "no key frame", "Upload it again")
        case "raise with secrets":
            raise OSError("GET https://user:pa55@host/key?X-Amz-Signature=abcdef failed\n  for \udcff file")
        case "raise much":
            raise ValueError("x" * 10_000)
    raise AssertionError(way)

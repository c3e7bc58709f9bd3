"""What an upload of one file costs, against s5cmd, to the same server in the same run.

    python -m benchmarks.upload [--large-mb 2000] [--rounds 3] [--json]

The server takes parts over loopback and forgets them (`upload_server`). Each client is a process of its own, and both
read the file from the page cache. We wait until the file is still (for 0 s), take the CRC64NVME of every part, have the
store confirm the object, probe the video and publish the record; s5cmd sends. s5cmd's seconds are those of its whole
process, ours begin after our imports. `ratio` is theirs / ours: above 1 we are faster. Memory is the process's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.store_client import Cost, run_ours, run_s5cmd, serving

WALL_GOAL = 0.8
MEMORY_GOAL_MB = 200


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
    with serving("benchmarks.upload_server") as url:
        if client == "s5cmd":
            return run_s5cmd(url, str(video), "s3://bucket/up/")
        return run_ours(url, "benchmarks.upload_client", str(video.parent), "s3://bucket/up")


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

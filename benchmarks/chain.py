"""The chain's cost on two cores, each figure beside a peer that did the same work in the same run.

    python -m benchmarks.chain [--minutes 10] [--rounds 3] [--points 20000] [--json]

Prints seconds per stage with the share that is not decode, model or index, and ratios against named peers. Works in
temporary folders that go away.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.footage import make_footage
from benchmarks.report import as_result, as_text
from benchmarks.rounds import run_round
from video_assets.errors import VideoAssetsError

CORES = 2


def main() -> int:
    """Measures and prints; returns the exit status."""
    options = _options()
    if shutil.which("ffmpeg") is None:
        return _fail("the ffmpeg command is not installed; it makes the footage, and it is a peer")
    cores, load = _stay_on(CORES), os.getloadavg()[0]
    rounds = []
    with tempfile.TemporaryDirectory(prefix="video_assets_benchmark_") as name:
        folder = Path(name)
        try:
            footage = make_footage(folder / "uploads", options.minutes)
        except VideoAssetsError as error:
            return _fail(str(error))
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            rounds.append(run_round(footage, folder / f"round-{number}", cores, options.points))
    result = as_result(rounds, str(footage), f"{cores} cores, load {load:.1f} at the start")
    print(json.dumps(result, indent=2) if options.json else as_text(result))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="How much footage; 10 if not given.")
    parser.add_argument("--rounds", type=int, default=3, help="How often everything is measured; 3 if not given.")
    parser.add_argument("--points", type=int, default=20_000, help="Points of the large index; 20000 if not given.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    options = parser.parse_args()
    if options.minutes < 0.1 or options.rounds < 1 or options.points < 1:
        parser.error("give at least 0.1 minutes, 1 round and 1 point")
    return options


def _stay_on(cores: int) -> int:
    """Keeps this process, and so all that it starts, on so many cores where the system can; returns how many it has."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    usable = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, usable)
    return len(usable)


def _fail(reason: str) -> int:
    print(f"Error: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

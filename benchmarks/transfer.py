"""What a download to disk costs, against s5cmd and boto3's transfer manager, from the same server in the same run.

    python -m benchmarks.transfer [--small 100] [--small-mb 20] [--large-mb 2000] [--rounds 1] [--json]

The server sends files by sendfile over loopback and checks no signature (`transfer_server`). Each client is a process
of its own; the disk is synced between them. s5cmd's seconds are those of its whole process, the others' begin after
their imports. The wall ends when the files are on the disk: we sync each before it appears, for the others that is done
and counted after them. We also hold the bytes against the CRC64 that S3 has of every object, which s5cmd does not.
`ratio` is theirs / ours: above 1 we are cheaper. Memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.store_client import Cost, run_ours, run_s5cmd, serving

WALL_GOAL = 0.9
MEMORY_GOAL_MB = 200
OURS, PEERS = ("ours", "ours+sha256"), ("s5cmd", "boto3")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians over the rounds; ratios are medians of the rounds' ratios."""

    objects: str
    client: str
    against: str
    wall_s: float
    cpu_s: float
    peak_mb: float
    wall_ratio: float
    cpu_ratio: float
    reached: bool


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=100, help="how many small objects")
    parser.add_argument("--small-mb", type=int, default=20)
    parser.add_argument("--large-mb", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="video_assets_transfer_") as folder:
        root = Path(folder)
        sets = {
            f"{options.small} x {options.small_mb} MB": _objects(root, "small", options.small, options.small_mb),
            f"{options.large_mb} MB": _objects(root, "large", 1, options.large_mb),
        }
        with serving("benchmarks.transfer_server", str(root / "objects")) as url:
            rounds = [{what: _round(root, url, keys) for what, keys in sets.items()} for _ in range(options.rounds)]
    found = [c for what in sets for c in _comparisons(what, [measured[what] for measured in rounds])]
    print(json.dumps([asdict(c) for c in found], indent=2) if options.json else _text(found))
    return 0


def _objects(root: Path, name: str, count: int, size_mb: int) -> list[str]:
    """Writes objects of random bytes, each with others; returns their keys."""
    keys = [f"{name}/{number:04}.mp4" for number in range(count)]
    for key in keys:
        path = root / "objects" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for _ in range(size_mb):
                file.write(os.urandom(1_000_000))
    return keys


def _round(root: Path, url: str, keys: list[str]) -> dict[str, Cost]:
    costs = {}
    for client in (*OURS, *PEERS):
        target = root / "downloaded"
        target.mkdir()
        cost, begun = _download(client, target, url, keys), time.perf_counter()
        for key in keys:
            with (target / key).open("rb") as file:
                os.fsync(file)
        costs[client] = replace(cost, wall_s=cost.wall_s + time.perf_counter() - begun)
        for key in keys:
            assert (target / key).stat().st_size == (root / "objects" / key).stat().st_size, f"{client}: {key}"
        shutil.rmtree(target)
        os.sync()
    return costs


def _download(client: str, target: Path, url: str, keys: list[str]) -> Cost:
    if client == "s5cmd":
        folder = keys[0].partition("/")[0]
        return run_s5cmd(url, f"s3://bucket/{folder}/*", f"{target / folder}/")
    return run_ours(url, "benchmarks.transfer_client", client, str(target), *keys)


def _comparisons(what: str, rounds: list[dict[str, Cost]]) -> Iterator[Comparison]:
    for client in OURS:
        for peer in PEERS:
            ours = [costs[client] for costs in rounds]
            theirs = [costs[peer] for costs in rounds]
            wall = median(t.wall_s / o.wall_s for o, t in zip(ours, theirs, strict=True))
            peak_mb = max(cost.peak_mb for cost in ours)
            yield Comparison(
                objects=what,
                client=client,
                against=peer,
                wall_s=median(cost.wall_s for cost in ours),
                cpu_s=median(cost.cpu_s for cost in ours),
                peak_mb=peak_mb,
                wall_ratio=wall,
                cpu_ratio=median(t.cpu_s / o.cpu_s for o, t in zip(ours, theirs, strict=True)),
                reached=wall >= WALL_GOAL and peak_mb <= MEMORY_GOAL_MB,
            )


def _text(found: list[Comparison]) -> str:
    return "\n".join(
        f"{c.objects}: {c.client} {c.wall_s:.2f} s, {c.cpu_s:.2f} s CPU, {c.peak_mb:.0f} MB; against {c.against}: "
        f"wall {c.wall_ratio:.2f} x, CPU {c.cpu_ratio:.2f} x (to reach wall {WALL_GOAL} x and {MEMORY_GOAL_MB} MB: "
        f"{'reached' if c.reached else 'NOT reached'})"
        for c in found
    )


if __name__ == "__main__":
    sys.exit(main())

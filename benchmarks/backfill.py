"""A backfill of a thousand tiny partitions, packed into few runs, beside Dagster's own, of a run each, on a sample.

    python -m benchmarks.backfill [--partitions 1000] [--pack 50] [--sample 20] [--json]

Both are started by the same daemon, with the limits of our dagster.yaml, from nothing; the sample's partitions are
alike, one day of as many vehicles for each. Works in a temporary folder that goes away.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from video_assets.dagster_home import prepare_home
from video_assets.settings import Settings

CHECKOUT = Path(__file__).parents[1]
SINGLE_DAY, PACKED_DAY = "2026-01-03", "2026-01-04"
GOAL_RUNS = 20

_SEE = """
import dagster as dg
from video_assets.defs.launch import report_uploads
from video_assets.defs.resources import deployment
from video_assets.sources.registry import open_source
from video_assets.stages.manifest_scan import scan_source
settings, tables = deployment()
scans = scan_source(open_source(settings), tables)
with dg.DagsterInstance.get() as instance:
    instance.add_dynamic_partitions("vehicle", sorted({partition.vehicle for partition in scans}))
    report_uploads(instance, scans)
print(len(scans))
"""

_SINGLE = """
import sys, time
import dagster as dg
from dagster._core.execution.backfill import PartitionBackfill
from video_assets.defs.jobs import CHAIN_ASSETS
from benchmarks.no_sensors import defs
with dg.DagsterInstance.get() as instance:
    begun = time.monotonic()
    backfill = PartitionBackfill.from_asset_partitions(
        asset_graph=defs.resolve_asset_graph(), backfill_id="single", tags={}, backfill_timestamp=time.time(),
        asset_selection=[dg.AssetKey(name) for name in CHAIN_ASSETS], partition_names=sys.argv[1:],
        dynamic_partitions_store=instance, all_partitions=False, title=None, description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    while instance.get_backfill("single").status.value == "REQUESTED":
        time.sleep(0.2)
    status = instance.get_backfill("single").status.value
    assert status == "COMPLETED_SUCCESS", status
    print(time.monotonic() - begun)
"""

_PACKED = """
import sys, time
import dagster as dg
from pathlib import Path
from benchmarks.no_sensors import defs
from video_assets.defs.backfill import run_backfill
home, pack, first, last = sys.argv[1:]
begun = time.monotonic()
queued = run_backfill(defs, Path(home), "all", int(pack), first=first, last=last, only=[])
with dg.DagsterInstance.get() as instance:
    while not all(instance.get_run_by_id(run).is_finished for run in queued.runs):
        time.sleep(0.2)
    bad = [run for run in queued.runs if not instance.get_run_by_id(run).is_success]
    assert not bad, bad
print(time.monotonic() - begun, len(queued.runs), queued.partitions)
"""

_WORKSPACE = """load_from:
  - python_module: {module_name: benchmarks.no_sensors, attribute: defs, location_name: video_assets}
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A source of tiny videos, and a home with nothing in it."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("VIDEO_ASSETS_")},
            "DAGSTER_HOME": str(self.home),
            "VIDEO_ASSETS_SOURCE": str(self.root / "uploads"),
            "VIDEO_ASSETS_STORE": str(self.home / "store"),
            "VIDEO_ASSETS_INDEX": str(self.home / "index"),
            "VIDEO_ASSETS_SETTLE_S": "0",
        }

    def python(self, code: str, *arguments: str) -> list[float]:
        """Runs code in a process of its own; the numbers that it prints last."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.environment(),
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return [float(word) for word in done.stdout.splitlines()[-1].split()]

    @contextlib.contextmanager
    def daemon(self) -> Iterator[None]:
        """The daemon that starts runs, and all that it has started, gone afterwards."""
        with (self.root / "daemon.log").open("w") as log:
            command = [
                str(Path(sys.executable).with_name("dagster-daemon")),
                "run",
                "-w",
                str(self.home / "workspace.yaml"),
            ]
            process = subprocess.Popen(
                command, env=self.environment(), cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def main() -> int:
    """Measures and prints; returns the exit status."""
    options = _options()
    if shutil.which("ffmpeg") is None:
        print("Error: the ffmpeg command is not installed; it makes the footage", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="video_assets_benchmark_") as name:
        result = measure(Deployment(Path(name)), options.partitions, options.pack, options.sample)
    print(json.dumps(result, indent=2) if options.json else as_text(result))
    return 0


def measure(deployment: Deployment, partitions: int, pack: int, sample: int) -> dict[str, float]:
    """Seconds of both on the sample, then of all partitions packed."""
    lay_out(deployment.root, partitions, sample)
    deployment.home.mkdir()
    (deployment.home / "workspace.yaml").write_text(_WORKSPACE)
    prepare_home(deployment.home)
    (seen,) = deployment.python(_SEE)
    assert seen == partitions, (seen, partitions)
    with deployment.daemon():
        keys = [f"{SINGLE_DAY}|{_vehicle(n)}" for n in range(sample)]
        (single_s,) = deployment.python(_SINGLE, *keys)
        packed_s, _, _ = deployment.python(_PACKED, str(deployment.home), str(sample), PACKED_DAY, PACKED_DAY)
        all_s, runs, made = deployment.python(_PACKED, str(deployment.home), str(pack), "", "")
    return {
        "sample": sample,
        "single_s": round(single_s, 1),
        "packed_s": round(packed_s, 1),
        "ratio": round(single_s / packed_s, 2),
        "partitions": int(made),
        "runs": int(runs),
        "seconds": round(all_s, 1),
        "s_per_partition": round(all_s / made, 3),
    }


def lay_out(root: Path, partitions: int, sample: int) -> None:
    """A day of each sample in full, and the rest here and there in a matrix of 40 vehicles and 100 days."""
    tiny = root / "tiny.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=4:duration=1", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-v", "error", *source, str(tiny)], check=True, stdin=subprocess.DEVNULL)
    places = [(day, n) for day in (SINGLE_DAY, PACKED_DAY) for n in range(sample)]
    others = [(f"2026-{2 + i // 25:02}-{1 + i % 25:02}", n) for i in range(100) for n in range(40)]
    places += random.Random(1).sample(others, partitions - len(places))
    template = Settings().template()
    for day, number in places:
        path = root / "uploads" / template.format(_vehicle(number), "front", _start(day))
        path.parent.mkdir(parents=True)
        shutil.copyfile(tiny, path)


def as_text(result: dict[str, float]) -> str:
    """The figures for people."""
    reached = "reached" if result["runs"] <= GOAL_RUNS else "NOT reached"
    return (
        f"{result['sample']} partitions: {result['single_s']} s in a run each (Dagster's backfill), "
        f"{result['packed_s']} s packed into one: {result['ratio']} × less\n"
        f"{result['partitions']} partitions packed: {result['runs']} runs (to reach at most {GOAL_RUNS}: {reached}), "
        f"{result['seconds']} s, {result['s_per_partition']} s each"
    )


def _vehicle(number: int) -> str:
    return f"veh-{number:02}"


def _start(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T08:30:00").replace(tzinfo=UTC)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.backfill", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--partitions", type=int, default=1000, help="How many partitions; 1000 if not given.")
    parser.add_argument("--pack", type=int, default=50, help="Partitions of a run; 50 if not given.")
    parser.add_argument("--sample", type=int, default=20, help="Partitions that are made both ways; 20 if not given.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    options = parser.parse_args()
    if not 1 <= 2 * options.sample <= options.partitions <= 4000 or options.pack < 1:
        parser.error("give a sample of at most half the partitions, at most 4000 of these, and a pack of at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())

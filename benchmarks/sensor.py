"""What a tick of the upload sensor costs on a large fleet, against dagster-aws' `get_objects` on the same server.

    python -m benchmarks.sensor [--vehicles 1000] [--days 100] [--keys 10] [--delay-ms 30] [--ticks 10] [--json]

A server of its own answers S3 listings from memory, each after the delay. The fleet's partitions are taken for made
(as after a year of running) before ticks are measured. `get_objects` lists a tenth of the vehicles, and its figure is
ten times that: it has to list everything at every tick. Works in a temporary folder that goes away.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

TICK_GOAL_S = 10.0
MEMORY_GOAL_MIB = 500
LOOK_BACK_GOAL = 5
CURSOR_GOAL_BYTES = 500_000
TICKS_A_DAY = 2880
PEER_SHARE = 10


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds are of the wall, medians where not said otherwise; `ratio` is the peer's seconds over ours."""

    keys: int
    partitions: int
    tick_s: float
    longest_tick_s: float
    tick_cpu_s: float
    memory_mib: float
    cursor_bytes: int
    memory_file_bytes: int
    look_back_ticks: int
    old_date_ticks: int
    peer_s: float
    peer_memory_mib: float
    ratio: float


def main() -> int:
    """Measures and prints; returns the exit status."""
    options = _options()
    today = datetime.now(UTC).date()
    with tempfile.TemporaryDirectory(prefix="video_assets_benchmark_") as name, _server(options, today) as url:
        os.environ.update(_environment(url, Path(name), today - timedelta(days=options.days)))
        result = _measure(options, url, today)
    print(json.dumps(asdict(result), indent=2) if options.json else as_text(result, options))
    return 0


def _measure(options: argparse.Namespace, url: str, today: Any) -> Result:
    sensor = _Sensor()
    sensor.sweep_at_once()
    sensor.take_for_made()
    times = [sensor.tick() for _ in range(options.ticks)]
    _upload(url, f"veh-{options.vehicles // 2:04}/{today}/front/235900.mp4")
    fresh = sensor.ticks_until(lambda: f"{today}|veh-{options.vehicles // 2:04}" in sensor.asked_for, 50)
    old = today - timedelta(days=options.days // 2)
    # Behind the sweep, which comes to it last of all.
    vehicle = sensor.swept_vehicle()
    _upload(url, f"{vehicle}/{old}/front/235900.mp4")
    late = sensor.ticks_until(lambda: f"{old}|{vehicle}" in sensor.asked_for, TICKS_A_DAY)
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peer_s, peer_memory_mib = _peer(options, url)
    return Result(
        keys=options.vehicles * options.days * options.keys,
        partitions=options.vehicles * options.days,
        tick_s=median(wall for wall, _ in times),
        longest_tick_s=max(wall for wall, _ in times),
        tick_cpu_s=median(cpu for _, cpu in times),
        memory_mib=memory_mib,
        cursor_bytes=len(sensor.cursor or ""),
        memory_file_bytes=sensor.memory_file_bytes(),
        look_back_ticks=fresh,
        old_date_ticks=late,
        peer_s=peer_s,
        peer_memory_mib=peer_memory_mib,
        ratio=peer_s / median(wall for wall, _ in times),
    )


class _Sensor:
    """The code location's own sensor, evaluated as the daemon does, on an instance that is forgotten."""

    def __init__(self) -> None:
        import dagster as dg

        from video_assets.defs.sensors import upload_sensor

        logging.getLogger("dagster").setLevel(logging.WARNING)
        self._evaluate, self._context = upload_sensor, dg.build_sensor_context
        self._instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None
        self.asked_for: set[str] = set()

    def tick(self) -> tuple[float, float]:
        """Wall and CPU seconds of one tick."""
        wall, cpu = time.monotonic(), time.process_time()
        result: Any = self._evaluate(self._context(instance=self._instance, cursor=self.cursor))
        spent = time.monotonic() - wall, time.process_time() - cpu
        if not hasattr(result, "cursor"):
            raise SystemExit(result.skip_message)
        self.cursor = result.cursor
        self.asked_for = {str(request.partition_key) for request in result.run_requests or []}
        for event in result.asset_events:
            self._instance.report_runless_asset_event(event)
        text = result.skip_reason.skip_message if result.skip_reason else f"{len(self.asked_for)} runs"
        print(f"{spent[0]:5.1f} s wall, {spent[1]:5.1f} s CPU: {text}", file=sys.stderr)
        return spent

    def ticks_until(self, done: Any, limit: int) -> int:
        """How many ticks it takes."""
        for count in range(1, limit + 1):
            self.tick()
            if done():
                return count
        raise SystemExit(f"it did not come about in {limit} ticks")

    def sweep_at_once(self) -> None:
        """The first sweep in one long tick instead of many."""
        from video_assets.defs import sensors
        from video_assets.stages.upload_watch import Limits

        sensors.Limits = lambda: Limits(sweep_s=7200, sweep_pages=10**9)  # type: ignore[assignment,misc]
        self.tick()
        sensors.Limits = Limits  # type: ignore[misc]

    def cursor_said(self, name: str) -> Any:
        return json.loads(self.cursor or "{}").get(name)

    def swept_vehicle(self) -> str:
        """The vehicle that the sweep looked at last."""
        return str(self.cursor_said("sweep_after") or self.cursor_said("sweep_inside") or "veh-0000").split("/")[0]

    def take_for_made(self) -> None:
        """Every partition that waits counts as asked for: the state of a fleet that has long been running."""
        from video_assets.settings import load_settings
        from video_assets.sources.upload_scan.cursor import UploadCursor
        from video_assets.sources.upload_scan.memory import Asked
        from video_assets.stages.upload_state import recall, remember
        from video_assets.storage.registry import open_store

        settings = load_settings()
        store = open_store(settings.store)
        cursor, memory, _ = recall(UploadCursor.parse(self.cursor), store, settings)
        for key in memory.waiting():
            memory.settle(key, Asked(memory.fingerprint(key), 1, is_sure=True))
        remember(cursor, memory, store)
        self.cursor = cursor.dump()

    def memory_file_bytes(self) -> int:
        from video_assets.keys import uploads_seen_key
        from video_assets.settings import load_settings
        from video_assets.storage.registry import open_store

        return open_store(load_settings().store).head(uploads_seen_key(self.cursor_said("memory"))).size_bytes


_PEER = """
import json, resource, sys, time
from dagster_aws.s3.sensor import get_objects
import boto3
client = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
begun, found = time.monotonic(), 0
for prefix in sys.argv[2:]:
    found += len(get_objects("fleet", prefix=prefix, client=client))
print(json.dumps([time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, found]))
"""


def _peer(options: argparse.Namespace, url: str) -> tuple[float, float]:
    """Seconds of one listing by dagster-aws of everything, from a share of the vehicles; and MiB for that share."""
    vehicles = max(1, options.vehicles // PEER_SHARE)
    # As few prefixes as name that many vehicles: one, for the sizes that fit.
    prefix = f"veh-{vehicles:04}"[: -(len(str(vehicles)) - 1) or None]
    done = subprocess.run([sys.executable, "-c", _PEER, url, prefix], stdout=subprocess.PIPE, check=True, text=True)
    seconds, memory_mib, found = json.loads(done.stdout)
    return seconds * options.vehicles * options.days * options.keys / max(found, 1), memory_mib


@contextlib.contextmanager
def _server(options: argparse.Namespace, last_day: Any) -> Iterator[str]:
    names = {"vehicles": options.vehicles, "days": options.days, "keys": options.keys, "delay-ms": options.delay_ms}
    arguments = [text for name, value in names.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "benchmarks.list_server", *arguments, "--last-day", last_day.isoformat()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _environment(url: str, folder: Path, first_day: Any) -> dict[str, str]:
    return {
        "VIDEO_ASSETS_SOURCE": "s3://fleet",
        "VIDEO_ASSETS_STORE": str(folder / "store"),
        "VIDEO_ASSETS_INDEX": str(folder / "index"),
        "VIDEO_ASSETS_START_DATE": first_day.isoformat(),
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _upload(url: str, key: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{url}/fleet/{key}", data=b"", method="PUT"), timeout=30).close()


def as_text(result: Result, options: argparse.Namespace) -> str:
    """A line for each figure, with what it should be."""
    r = result
    rows = [
        (
            "a tick",
            f"{r.tick_s:.1f} s, the longest {r.longest_tick_s:.1f} s, {r.tick_cpu_s:.1f} s of CPU",
            f"at most {TICK_GOAL_S:.0f} s",
            r.longest_tick_s <= TICK_GOAL_S,
        ),
        ("memory", f"{r.memory_mib:.0f} MiB", f"at most {MEMORY_GOAL_MIB} MiB", r.memory_mib <= MEMORY_GOAL_MIB),
        (
            "an arrival of today is seen",
            f"after {r.look_back_ticks} ticks",
            f"within {LOOK_BACK_GOAL}",
            r.look_back_ticks <= LOOK_BACK_GOAL,
        ),
        (
            "an arrival of an old day, just missed",
            f"after {r.old_date_ticks} ticks",
            f"within a day: {TICKS_A_DAY}",
            r.old_date_ticks <= TICKS_A_DAY,
        ),
        (
            "cursor",
            f"{r.cursor_bytes} bytes, {r.memory_file_bytes / 1e6:.1f} MB beside it",
            f"at most {CURSOR_GOAL_BYTES} bytes",
            r.cursor_bytes <= CURSOR_GOAL_BYTES,
        ),
        ("dagster-aws get_objects, one listing", f"{r.peer_s:.0f} s, {r.ratio:.0f} × our tick", "-", True),
    ]
    head = (
        f"{r.keys} keys of {r.partitions} partitions, vehicle first, {options.delay_ms} ms a request; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    return "\n".join(
        [
            head,
            *(f"{what:38} {said:48} {goal:24} {'' if ok else 'NOT reached'}".rstrip() for what, said, goal, ok in rows),
        ]
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sensor", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vehicles", type=int, default=1000, help="1000 if not given.")
    parser.add_argument("--days", type=int, default=100, help="100 if not given.")
    parser.add_argument("--keys", type=int, default=10, help="Uploads of a vehicle's day; 10 if not given.")
    parser.add_argument("--delay-ms", type=int, default=30, help="What a listing request takes; 30 if not given.")
    parser.add_argument("--ticks", type=int, default=10, help="How many ticks are measured; 10 if not given.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""The CPU that a client spends on writing manifest rows to MaxCompute: by Arrow as we do, and by pyodps' record writer.

    python -m benchmarks.odps [--rows 1000000] [--json]

The server is the one of the tests, in a process of its own, whose time is not counted: it is slower than either. Both
replace the rows of a table of three columns with the same rows, which lie in memory as each takes them: in Arrow
batches, and as lists of values.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from video_assets.stages.flat_manifest import FLAT_MANIFEST
from video_assets.table_store.odps import make_table
from video_assets.table_store.odps_tunnel import BATCH_ROWS, upload

TARGET = 5.0
"""How many times less CPU than the record writer."""

SCHEMA = FLAT_MANIFEST.schema.remove_metadata()
MODIFIED = "2026-01-03 08:30:00"

_SERVER = """
import sys
from video_assets_tests.servers.odps_environment import odps_server
with odps_server() as server:
    print(server.endpoint, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What it took to write the rows: seconds of this process' CPU, and of the clock."""

    cpu_s: float
    wall_s: float


def main() -> int:
    """Measures and prints; returns the exit status."""
    options = _options()
    rows = [
        [f"oss://oss-cn-hangzhou-internal.aliyuncs.com/fleet/veh-{n % 500}/front/{n:08d}.mp4", 1_000_000 + n, MODIFIED]
        for n in range(options.rows)
    ]
    batches = pa.table(list(zip(*rows, strict=True)), schema=SCHEMA).to_batches(BATCH_ROWS)
    with _handle() as o:
        # The first calls of each are for what is set up once.
        for count in (100, options.rows):
            arrow = _timed(lambda count=count: _by_arrow(o, batches if count > 100 else batches[:1]))  # type: ignore[misc]
            records = _timed(lambda count=count: _by_records(o, rows[:count]))  # type: ignore[misc]
        if _count(o, "by_arrow") != options.rows or _count(o, "by_records") != options.rows:
            print("Error: not every row was written", file=sys.stderr)
            return 1
    ratio = records.cpu_s / arrow.cpu_s
    if options.json:
        result = {"rows": options.rows, "ratio": ratio, "target": TARGET, "reached": ratio >= TARGET}
        print(json.dumps({**result, "arrow_cpu_s": arrow.cpu_s, "record_cpu_s": records.cpu_s}, indent=2))
        return 0
    print(f"{options.rows} rows, seconds of the client's CPU (and of the clock, by a slow server)")
    print(f"  by Arrow, as tables are written    {arrow.cpu_s:8.2f} ({arrow.wall_s:.1f})")
    print(f"  by pyodps' record writer           {records.cpu_s:8.2f} ({records.wall_s:.1f})")
    print(f"  ratio {ratio:.1f}, to reach {TARGET:g}: {'reached' if ratio >= TARGET else 'not reached'}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.odps", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="How many rows; 1000000 if not given.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    options = parser.parse_args()
    if options.rows < 100:
        parser.error("give at least 100 rows")
    return options


@contextmanager
def _handle() -> Iterator[Any]:
    from odps import ODPS

    from video_assets_tests.servers.odps_environment import ACCESS_ID, SECRET
    from video_assets_tests.servers.odps_server import PROJECT

    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield ODPS(ACCESS_ID, SECRET, PROJECT, server.stdout.readline().strip())
    finally:
        server.stdin.close()
        server.wait()


def _timed(write: Any) -> Written:
    cpu, wall = time.process_time(), time.monotonic()
    write()
    return Written(time.process_time() - cpu, time.monotonic() - wall)


def _by_arrow(o: Any, batches: list[pa.RecordBatch]) -> None:
    make_table(o, "by_arrow", FLAT_MANIFEST, lifecycle=1)
    upload(o, "by_arrow", None, batches, SCHEMA)


def _by_records(o: Any, rows: list[list[Any]]) -> None:
    """The way of pyodps' documentation."""
    from odps.tunnel import TableTunnel

    columns = "video_path string, size_bytes bigint, last_modified string"
    table = o.create_table("by_records", columns, if_not_exists=True)
    session = TableTunnel(o).create_upload_session(table, overwrite=True)
    with session.open_record_writer() as writer:
        for row in rows:
            writer.write(session.new_record(row))
    session.commit(writer.get_blocks_written())


def _count(o: Any, table: str) -> int:
    with o.execute_sql(f"select count(*) from {table}").open_reader(tunnel=True) as reader:
        return int(next(iter(reader))[0])


if __name__ == "__main__":
    sys.exit(main())

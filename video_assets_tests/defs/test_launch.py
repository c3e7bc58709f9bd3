"""Runs in this process: what they leave of the process."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import dagster as dg
import pytest

from video_assets.defs import launch


@dg.job(executor_def=dg.in_process_executor)
def nothing() -> None:
    @dg.op
    def step() -> None:
        pass

    step()


@pytest.fixture
def _in_background() -> Iterator[None]:
    """As a script's shell starts what it does not wait for."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.usefixtures("_in_background")
def test_a_kill_still_ends_a_background_process_that_has_run_something() -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with dg.DagsterInstance.ephemeral() as instance:
        assert launch._run(dg.Definitions(jobs=[nothing]), instance, "nothing", None).success
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

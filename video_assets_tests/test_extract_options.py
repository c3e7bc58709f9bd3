"""`frames extract` by the short way: the same options, words and exit status as by Typer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

from video_assets.cli import app
from video_assets.extract_options import ExtractOptions, read_plainly
from video_assets_tests.video.make_video import make_video

COMMAND = get_command(app).commands["frames"].commands["extract"]

VALUES = [
    "1",
    "16",
    "015",
    "0",
    "-1",
    "1/3",
    "2.5",
    "1_0",
    "٣",
    "",
    "-",
    "--",
    "out",
    "a b",
    "jpeg",
    "JPEG",
    "png",
    "auto",
]
OPTIONS = ["--fps", "--every", "--count", "--crop", "--format", "--out", "--longest-side", "--longest"]
FLAGS = ["--keyframes", "--scenes", "--shard", "--json", "--help", "--fps=1", "v.mp4", "s3://b/v.mp4", "--", "-x", ""]

words = st.lists(
    st.one_of(
        st.sampled_from(FLAGS).map(lambda flag: [flag]),
        st.tuples(st.sampled_from(OPTIONS), st.sampled_from(VALUES)).map(list),
    ),
    max_size=5,
).map(lambda parts: [*chain.from_iterable(parts)])


def by_typer(arguments: list[str]) -> ExtractOptions:
    with COMMAND.make_context("extract", arguments[2:]) as context:
        return ExtractOptions(**context.params)


@settings(deadline=None)
@given(st.permutations([["--out", "o"], ["v.mp4"], ["--fps", "1"]]), words)
def test_what_is_read_plainly_is_what_typer_reads(must: list[list[str]], more: list[str]) -> None:
    arguments = ["frames", "extract", *chain.from_iterable(must), *more]
    plain = read_plainly(arguments)
    if plain is not None:
        assert asdict(plain) == asdict(by_typer(arguments))


@pytest.mark.parametrize(
    "given",
    [
        ["v.mp4", "--fps", "1", "--out", "out"],
        ["/a b/v.mp4", "--every", "1/3", "--out", "/o", "--json", "--shard", "--format", "png", "--crop", "auto"],
        ["--longest-side", "16", "--count", "7", "v.mp4", "--out", "out"],
        ["--keyframes", "--out", "out", "v.mp4"],
        ["--scenes", "--out", "out", "v.mp4"],
    ],
)
def test_every_option_can_be_read_plainly(given: list[str]) -> None:
    arguments = ["frames", "extract", *given]
    assert read_plainly(arguments) == by_typer(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frames"],
        ["search", "v.mp4", "--out", "o"],
        ["frames", "extract", "--help"],
        ["frames", "extract", "v.mp4"],
        ["frames", "extract", "--out", "o"],
        ["frames", "extract", "v.mp4", "w.mp4", "--out", "o"],
        ["frames", "extract", "v.mp4", "--out", "o", "--fps"],
        ["frames", "extract", "v.mp4", "--out", "o", "--fps", "1", "--fps", "1"],
        ["frames", "extract", "s3://fleet/v.mp4", "--out", "o"],
        ["frames", "extract", "v.mp4", "--out", "o", "--count", "0"],
        ["frames", "extract", "v.mp4", "--out", "o", "--longest-side", "15"],
        ["frames", "extract", "v.mp4", "--out", "o", "--format", "gif"],
    ],
)
def test_the_rest_is_for_typer(arguments: list[str]) -> None:
    assert read_plainly(arguments) is None


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "video_assets", "frames", "extract", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_process_tells_what_the_command_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    (tmp_path / "x.mp4").write_text("no video")
    monkeypatch.chdir(tmp_path)
    for video, fps in (("v.mp4", "10"), ("x.mp4", "1"), ("gone.mp4", "1"), ("v.mp4", "0")):
        arguments = [video, "--fps", fps, "--out", "out"]
        ours, typers = call(tmp_path, *arguments), CliRunner().invoke(app, ["frames", "extract", *arguments])
        assert ours.returncode == typers.exit_code
        assert without_seconds(ours.stdout) == without_seconds(typers.stdout)
        if fps != "0":
            assert ours.stderr == typers.stderr
        else:
            assert "--fps 0: give frames per second above 0" in ours.stderr


def without_seconds(told: str) -> str:
    return " ".join(word for word in told.split() if not word.replace(".", "").isdigit())


def test_who_reads_no_further_is_no_error(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    command = [sys.executable, "-m", "video_assets", "frames", "extract", "v.mp4", "--fps", "1", "--out", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1
    assert (tmp_path / "out" / "frames.parquet").exists()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    command = [sys.executable, "-m", "video_assets", "frames", "extract", "v.mp4", "--fps", "1", "--out", "out"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr

"""The examples in deploy/: what they say is what the settings take, and Dagster takes their dagster.yaml."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance
from dagster_shared.seven import get_system_temp_directory

from video_assets.dagster_home import prepare_home
from video_assets.settings import Settings, load_settings, variable
from video_assets.storage.registry import check_uri
from video_assets_tests.servers.s3_server import boto_client

DEPLOY = Path(__file__).parents[1] / "deploy"
ALL = sorted(path.name for path in DEPLOY.iterdir() if path.is_dir())
EDGE = "edge"
"""Runs the uploader alone: no home, no source."""
FOLDERS = [name for name in ALL if name != EDGE]
WORDS = {"YYYY-MM-DD": "2026-01-31", "folder": "/tmp/of-the-fleet", "region": "cn-hangzhou", "bucket": "fleet-bucket"}
"""What stands in for a placeholder, by a word in it."""

OF_OTHERS = re.compile(r"AWS_[A-Z0-9_]+|DAGSTER_HOME|DAGSTER_LOGS_BUCKET|UPLOAD_(FROM|TO|OPTIONS)")

STEP = """
import sys
from dagster import DagsterInstance
with DagsterInstance.from_config(sys.argv[1]) as instance:
    with instance.compute_log_manager.capture_logs([sys.argv[2], "compute_logs", "frames"]):
        print("said by a step", flush=True)
"""


def filled(name: str) -> str:
    """An `.env.example` with its placeholders filled in, each name of a bucket with another."""
    text, buckets = (DEPLOY / name / ".env.example").read_text(), dict[str, str]()

    def word(match: re.Match[str]) -> str:
        kind = next((kind for kind in WORDS if kind in match[1]), "")
        if kind == "bucket":
            return buckets.setdefault(match[1], f"fleet-bucket-{len(buckets)}")
        return WORDS.get(kind, "filled-in")

    return re.sub(r"<([^>…]+)>", word, text)


def uncommented(text: str) -> str:
    """With what is offered in comments set too."""
    return re.sub(r"(?m)^# (?=[A-Z][A-Z0-9_]+=)(.*=)$", r"\1something", text)


def test_there_is_an_example_for_each_way_to_run_it() -> None:
    assert ALL == ["aliyun", "aws", "edge", "local", "mixed"]


def test_the_unit_of_the_uploader_calls_it_with_the_variables_of_its_example() -> None:
    unit = (DEPLOY / EDGE / "video-assets-upload.service").read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert "video-assets upload watch " in line
    said = set(re.findall(r"^([A-Z_]+)=", (DEPLOY / EDGE / ".env.example").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$\{?(\w+)", line)) <= said


@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_is_taken_once_its_placeholders_are_filled_in(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDEO_ASSETS_STORE")
    monkeypatch.delenv("VIDEO_ASSETS_INDEX")
    (tmp_path / ".env").write_text(filled(name))
    settings = load_settings()
    assert settings.source is not None
    check_uri(settings.source)
    schemes = {"local": ("file", "file"), "aws": ("s3", "s3"), "aliyun": ("oss", "oss"), "mixed": ("oss", "s3")}
    found = tuple(place.partition("://")[0] for place in (settings.source, settings.store))
    assert found == schemes[name]
    assert settings.start_date.isoformat() == "2026-01-31"
    (tmp_path / ".env").write_text(uncommented(filled(name)))
    load_settings()


@pytest.mark.parametrize("name", ALL)
def test_an_example_has_no_variable_that_nothing_reads_and_a_comment_for_each_group(name: str) -> None:
    lines = uncommented(filled(name)).splitlines()
    known = {variable(field) for field in Settings.model_fields}
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith("#"):
            said = line.partition("=")[0]
            assert said in known or OF_OTHERS.fullmatch(said), f"{name}: {said}"
            group = lines[:number][::-1]
            assert any(above.startswith("#") for above in group[: group.index("")]), f"{name}: {said} has no comment"


def test_the_dagster_yaml_for_aws_is_ours_with_logs_in_a_bucket() -> None:
    ours = yaml.safe_load((DEPLOY.parent / "dagster.yaml").read_text())
    for_aws = yaml.safe_load((DEPLOY / "aws" / "dagster.yaml").read_text())
    assert for_aws.pop("compute_logs")["class"] == "S3ComputeLogManager"
    assert for_aws == ours


def test_a_home_keeps_the_dagster_yaml_that_was_copied_into_it_and_logs_go_to_the_bucket(
    s3_url: str, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = (DEPLOY / "aws" / "dagster.yaml").read_text()
    (tmp_path / "dagster.yaml").write_text(wanted)
    prepare_home(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == wanted
    assert (tmp_path / "workspace.yaml").is_file()
    monkeypatch.setenv("DAGSTER_LOGS_BUCKET", s3_bucket)
    try:
        # In a process of its own: it takes the file descriptors, which pytest has taken already.
        subprocess.run([sys.executable, "-c", STEP, str(tmp_path), s3_bucket], check=True, timeout=120)
        with DagsterInstance.from_config(str(tmp_path)) as instance:
            assert instance.run_monitoring_enabled
            said = instance.compute_log_manager.get_log_data([s3_bucket, "compute_logs", "frames"])
            assert said.stdout == b"said by a step\n"
    finally:
        # Where Dagster keeps what is not uploaded yet, whatever TMPDIR says.
        shutil.rmtree(Path(get_system_temp_directory()) / s3_bucket, ignore_errors=True)
    found = boto_client(s3_url).list_objects_v2(Bucket=s3_bucket, Prefix="dagster-logs/")["Contents"]
    assert [entry["Key"] for entry in found] == [f"dagster-logs/storage/{s3_bucket}/compute_logs/frames.out"]


def test_boto3_finds_the_aws_variables_of_an_env_file(
    s3_url: str, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{name}={value}\n" for name, value in os.environ.items() if name.startswith("AWS_")]
    (tmp_path / ".env").write_text("".join(lines))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VIDEO_"))}
    places = {"VIDEO_ASSETS_SOURCE": f"s3://{s3_bucket}/of an env file", "VIDEO_ASSETS_STORE": str(tmp_path / "store")}
    command = [str(Path(sys.executable).with_name("video-assets")), "doctor"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**environment, **places}, capture_output=True, text=True, timeout=120, check=False
    )
    assert f"ok       source bucket: s3://{s3_bucket} can be listed" in done.stdout, done.stdout + done.stderr

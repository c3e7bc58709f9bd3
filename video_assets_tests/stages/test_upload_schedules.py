"""Random histories of a source: nothing is missed, and nothing is run twice, whatever goes wrong meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from video_assets_tests.servers.s3_server import aws_environment, boto_client, make_bucket
from video_assets_tests.stages.upload_schedules import BucketSource, FolderSource, Schedule

SEEDS, BUCKET_SEEDS = range(20), range(1000, 1005)
MANY_SEEDS, MANY_BUCKET_SEEDS = range(20, 200), range(1005, 1030)


def play_on_folders(seeds: range, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in seeds:
        place = root / str(seed)
        with monkeypatch.context() as patch:
            schedule = Schedule(seed, FolderSource(place), place, patch)
            schedule.play()
            schedule.check()


def play_on_buckets(seeds: range, url: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, beside a sensor that asks `get_objects` at the same times; says what that one missed."""
    for name, value in aws_environment(url).items():
        monkeypatch.setenv(name, value)
    bucket, missed, live = make_bucket(url), 0, 0
    for seed in seeds:
        with monkeypatch.context() as patch:
            source = BucketSource(boto_client(url), bucket, f"fleet-{seed}")
            schedule = Schedule(seed, source, root / str(seed), patch, settles=False)
            schedule.play()
            schedule.check()
            source.ask_get_objects()
            now = {(info.key, info.etag) for info in schedule.listed()}
            missed, live = missed + len(now - source.seen_by_get_objects), live + len(now)
    return f"dagster-aws get_objects missed {missed} of {live} live objects in {len(seeds)} schedules; we missed 0"


def test_no_upload_is_missed_and_none_runs_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play_on_folders(SEEDS, tmp_path, monkeypatch)


def test_no_upload_of_a_bucket_is_missed_where_get_objects_misses_some(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = play_on_buckets(BUCKET_SEEDS, s3_url, tmp_path, monkeypatch)
    with capsys.disabled():
        print(f"\n{told}")
    assert not told.startswith("dagster-aws get_objects missed 0 ")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_upload_is_missed_in_many_schedules(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play_on_folders(MANY_SEEDS, tmp_path, monkeypatch)
    told = play_on_buckets(MANY_BUCKET_SEEDS, s3_url, tmp_path, monkeypatch)
    with capsys.disabled():
        print(f"\n{told}")

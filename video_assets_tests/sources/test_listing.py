"""Listing: what is taken, what is passed over and counted, and that no other partition is read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from video_assets.keys import Partition
from video_assets.path_template import PathTemplate
from video_assets.sources import listing as source_listing
from video_assets.sources import parallel_listing
from video_assets.sources.listing import Listing
from video_assets.sources.partition_scan import scan_partitions
from video_assets.sources.source_objects import StoreObjects
from video_assets.storage.object_store import ObjectInfo
from video_assets.storage.registry import open_store

UTC = ZoneInfo("UTC")
TEMPLATE = "{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}"
DAY = Partition("2026-01-03", "veh-7")
FIRST_DAY = date(2026, 1, 1)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    for key in (
        "veh-7/2026-01-03/front/083000.mp4",
        "veh-7/2026-01-03/rear/083000.MP4",
        "veh-7/2026-01-03/front/notes.txt",
        "veh-7/2026-01-03/front/broken-name.mp4",
        "veh-7/2026-01-04/front/083000.mp4",
        "veh-70/2026-01-03/front/083000.mp4",
        "stray.mp4",
    ):
        put(tmp_path, key)
    put(tmp_path, "veh-7/2026-01-03/front/090000.mp4", b"")
    return tmp_path


def put(root: Path, key: str, data: bytes = b"video", age_s: float = 3600) -> Path:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def listing(root: Path, template: str = TEMPLATE, settle_s: float = 60) -> Listing:
    objects = StoreObjects(open_store(str(root)))
    return Listing(objects, PathTemplate(template, (".mp4",), UTC, UTC), settle_s, FIRST_DAY)


def test_a_partition_is_its_own_videos(uploads: Path) -> None:
    found = listing(uploads)
    assert [upload.info.key for upload in found.partition(DAY)] == [
        "veh-7/2026-01-03/front/083000.mp4",
        "veh-7/2026-01-03/rear/083000.MP4",
    ]
    assert +found.skipped == {"empty": 1, "extension": 1}
    assert [upload.info.key for upload in found.unmatched] == ["veh-7/2026-01-03/front/broken-name.mp4"]


def test_a_whole_scan_accounts_for_every_object(uploads: Path) -> None:
    found = listing(uploads)
    scans = scan_partitions(found.everything())
    assert {partition.key: scan.videos for partition, scan in scans.items()} == {
        "2026-01-03|veh-7": 2,
        "2026-01-03|veh-70": 1,
        "2026-01-04|veh-7": 1,
    }
    objects = sum(1 for _ in open_store(str(uploads)).list())
    assert objects == 4 + found.skipped.total() + len(found.unmatched)


def test_an_upload_under_way_waits(tmp_path: Path) -> None:
    put(tmp_path, "veh-7/2026-01-03/front/083000.mp4", age_s=10)
    found = listing(tmp_path)
    assert list(found.partition(DAY)) == []
    assert +found.skipped == {"settling": 1}
    assert len(list(listing(tmp_path, settle_s=5).partition(DAY))) == 1


class Watched:
    """A store that remembers which prefixes were listed."""

    def __init__(self, root: Path) -> None:
        self._store = open_store(str(root))
        self.listed: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        self.listed.append(prefix)
        return self._store.list(prefix, start_after=start_after)


@pytest.mark.parametrize(
    ("template", "key", "prefixes"),
    [
        (TEMPLATE, "veh-7/2026-01-03/front/083000.mp4", ["veh-7/2026-01-03/front/"]),
        (
            "{camera}/{date:%Y/%m/%d}/{vehicle}_{start:%H%M%S}{ext}",
            "front/2026/01/03/veh-7_083000.mp4",
            ["front/2026/01/03/"],
        ),
        ("{vehicle}/{rest}", "veh-7/any/thing.mp4", ["veh-7/"]),
    ],
)
def test_no_other_partition_is_listed(tmp_path: Path, template: str, key: str, prefixes: list[str]) -> None:
    put(tmp_path, key)
    put(tmp_path, key.replace("veh-7", "veh-8").replace("front", "front"))
    put(tmp_path, key.replace("03", "04"))
    found = listing(tmp_path, template)
    watched = Watched(tmp_path)
    found.objects = StoreObjects(watched)  # type: ignore[arg-type]
    list(found.partition(DAY))
    assert watched.listed == prefixes


def test_a_fingerprint_changes_with_every_change_and_back(uploads: Path) -> None:
    def fingerprint() -> str:
        return scan_partitions(listing(uploads).everything())[DAY].fingerprint

    first = fingerprint()
    assert fingerprint() == first
    video = uploads / "veh-7/2026-01-03/front/083000.mp4"
    aside = video.rename(uploads / "aside")
    put(uploads, "veh-7/2026-01-03/front/083000.mp4", b"other")
    assert fingerprint() != first
    aside.replace(video)
    assert fingerprint() == first
    put(uploads, "veh-7/2026-01-03/front/100000.mp4")
    assert fingerprint() != first


@pytest.mark.parametrize("day", ["1970-01-01", "2025-12-31", "2999-01-01"])
def test_bug_a_day_outside_the_window_stopped_everything(tmp_path: Path, day: str) -> None:
    put(tmp_path, f"veh-7/{day}/front/083000.mp4")
    put(tmp_path, "veh-7/2026-01-03/front/083000.mp4")
    found = listing(tmp_path)
    assert [upload.fields.partition for upload in found.everything()] == [DAY]
    (upload,) = found.unmatched
    assert day in upload.reason


@pytest.mark.parametrize(
    ("key", "zone"),
    [("v/0001-01-01/c/000000.mp4", "Asia/Shanghai"), ("v/9999-12-31/c/235959.mp4", "America/New_York")],
)
def test_bug_a_time_beyond_the_calendar_crashed_the_listing(tmp_path: Path, key: str, zone: str) -> None:
    put(tmp_path, key)
    template = PathTemplate(TEMPLATE, (".mp4",), ZoneInfo(zone), ZoneInfo("UTC"))
    found = Listing(StoreObjects(open_store(str(tmp_path))), template, 60, FIRST_DAY)
    assert list(found.everything()) == []
    assert len(found.unmatched) == 1


def test_bug_an_upload_of_a_clock_that_is_ahead_settled_for_ever(tmp_path: Path) -> None:
    put(tmp_path, "veh-7/2026-01-03/front/083000.mp4", age_s=-86400)
    assert len(list(listing(tmp_path).partition(DAY))) == 1


def test_a_long_reading_tells_how_far_it_is(uploads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_listing, "REPORT_S", 0.0)
    monkeypatch.setattr(parallel_listing, "PIECE_KEYS", 3)
    found, told = listing(uploads), list[str]()
    found.report = told.append
    assert sum(1 for _ in found.everything()) == 4
    assert len(told) == 2
    assert "3 objects so far" in told[0]
    assert "now at veh-7/2026-01-03/front/090000.mp4" in told[0]

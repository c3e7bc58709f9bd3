"""Listing files: one reading of the source serves every partition that has no folders of its own."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources import parallel_listing, source_objects
from video_assets.sources.listing_files import INDEX
from video_assets.sources.registry import open_source
from video_assets.stages.manifest import Manifest, build_manifest
from video_assets.stages.unmatched import build_unmatched
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables

TEMPLATE = "{rest}/{start:%Y%m%d_%H%M%S}_{vehicle}_{camera}{ext}"
DAYS = [Partition(f"2026-01-{day:02d}", vehicle) for day in (3, 4, 5) for vehicle in ("veh-1", "veh-2")]


class Fleet:
    """Uploads in no folders of their partitions', and a store; counts the readings of the whole source."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.uploads, self.home = root / "uploads", root / "store"
        self.tables = ParquetTables(open_store(str(self.home), create=True))
        self.readings = 0
        gate = threading.Lock()

        def counted(*args: Any, **named: Any) -> Any:
            with gate:
                self.readings += 1
            return parallel_listing.list_in_parallel(*args, **named)

        monkeypatch.setattr(source_objects, "list_in_parallel", counted)
        for day in DAYS:
            for camera in ("front", "rear"):
                self.put(f"any/where/{day.date.replace('-', '')}_083000_{day.vehicle}_{camera}.mp4")

    def put(self, key: str, data: bytes = b"video", age_s: float = 3600) -> Path:
        path = self.uploads / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (time.time() - age_s,) * 2)
        return path

    def settings(self, **changes: Any) -> Settings:
        places = {"source": str(self.uploads), "store": str(self.home)}
        return Settings(**{**places, "path_template": TEMPLATE, **changes})

    def manifest(self, day: Partition = DAYS[0], **changes: Any) -> Manifest:
        return build_manifest(day, tables=self.tables, settings=self.settings(**changes))

    def names(self, day: Partition = DAYS[0], **changes: Any) -> list[str]:
        return [Path(row["video_path"]).name for row in self.manifest(day, **changes).fold.rows.to_pylist()]

    def files(self) -> dict[str, int]:
        return {str(path): path.stat().st_ino for path in self.home.rglob("listings/*/*/*.parquet")}

    def index(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / INDEX).read_text())
        return found


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(tmp_path, monkeypatch)


def test_one_reading_serves_every_partition_also_at_the_same_time(fleet: Fleet) -> None:
    with ThreadPoolExecutor(len(DAYS)) as pool:
        found = list(pool.map(fleet.manifest, DAYS))
    assert fleet.readings == 1
    assert [len(manifest.fold.rows) for manifest in found] == [2] * len(DAYS)
    assert all("from the listing as it was at" in manifest.examples[0] for manifest in found)
    assert len(fleet.files()) == len(DAYS)


def test_a_partition_with_folders_of_its_own_is_listed_by_itself(fleet: Fleet) -> None:
    fleet.put("veh-1/2026-01-03/front/083000.mp4")
    template = "{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}"
    assert fleet.names(path_template=template) == ["083000.mp4"]
    assert fleet.readings == 0
    assert not fleet.files()


def test_a_listing_that_is_too_old_is_made_anew(fleet: Fleet) -> None:
    assert len(fleet.names()) == 2
    fleet.put("any/20260103_090000_veh-1_front.mp4")
    assert len(fleet.names()) == 2
    assert len(fleet.names(listing_max_age_s=0)) == 3
    assert fleet.readings == 2


def test_any_reading_of_the_whole_source_renews_the_files(fleet: Fleet) -> None:
    fleet.manifest()
    fleet.put("any/20260103_090000_veh-1_front.mp4")
    assert len(list(open_source(fleet.settings(), with_files=True).everything())) == 2 * len(DAYS) + 1
    assert len(fleet.names()) == 3
    fleet.put("any/20260103_100000_veh-1_front.mp4")
    build_unmatched(tables=fleet.tables, settings=fleet.settings())
    assert len(fleet.names()) == 4
    assert fleet.readings == 3


def test_who_saw_news_makes_the_next_manifest_read_anew(fleet: Fleet) -> None:
    fleet.manifest()
    fleet.put("any/20260103_090000_veh-1_front.mp4")
    open_source(fleet.settings(), with_files=True).saw_news()
    assert len(fleet.names()) == 3
    assert len(fleet.names(DAYS[1])) == 2
    assert fleet.readings == 2
    assert len(fleet.files()) == len(DAYS)


def test_a_reading_that_was_left_changes_nothing(fleet: Fleet) -> None:
    fleet.manifest()
    before = fleet.index()
    fleet.put("any/20260103_090000_veh-1_front.mp4")
    uploads = open_source(fleet.settings(), with_files=True).everything()
    next(uploads)
    uploads.close()  # type: ignore[attr-defined]
    assert fleet.index() == before


def test_only_files_that_changed_are_written_and_old_ones_go(fleet: Fleet) -> None:
    fleet.manifest()
    before = fleet.files()
    fleet.put("any/20260103_090000_veh-1_front.mp4")
    for path in fleet.uploads.rglob("20260105_*_veh-2_*"):
        path.unlink()
    fleet.manifest(listing_max_age_s=0)
    after = fleet.files()
    assert len(before.items() & after.items()) == len(DAYS) - 2
    assert len(after) == len(DAYS) - 1
    assert sorted({Path(path).parent.parent.name for path in after}) == [f"date=2026-01-{day:02d}" for day in (3, 4, 5)]


def test_objects_are_looked_at_again(fleet: Fleet) -> None:
    fleet.manifest()
    gone, changed = sorted(fleet.uploads.rglob("20260103_*_veh-1_*"))
    gone.unlink()
    fleet.put(str(changed.relative_to(fleet.uploads)), b"other video")
    manifest = fleet.manifest()
    (row,) = manifest.fold.rows.to_pylist()
    assert row["size_bytes"] == len(b"other video")
    assert manifest.skipped["gone"] == 1
    assert fleet.readings == 1


def test_an_upload_that_was_settling_is_there_once_it_has(fleet: Fleet) -> None:
    fleet.put("any/20260103_090000_veh-1_front.mp4", age_s=100)
    fleet.put("any/20260103_100000_veh-1_front.mp4", b"")
    first = fleet.manifest(settle_s=200)
    assert (len(first.fold.rows), first.skipped["settling"], first.skipped["empty"]) == (2, 1, 1)
    second = fleet.manifest(settle_s=50)
    assert (len(second.fold.rows), second.skipped["settling"], second.skipped["empty"]) == (3, 0, 1)
    assert fleet.readings == 1


def test_another_template_does_not_read_the_files_of_the_first(fleet: Fleet) -> None:
    fleet.manifest()
    other = "{rest}/{start:%Y%m%d_%H%M%S}_{camera}_{vehicle}{ext}"
    assert fleet.names(Partition("2026-01-03", "front"), path_template=other) == ["20260103_083000_veh-1_front.mp4"] + [
        "20260103_083000_veh-2_front.mp4"
    ]
    assert fleet.readings == 2


def test_a_damaged_index_is_made_anew(fleet: Fleet) -> None:
    fleet.manifest()
    (fleet.home / INDEX).write_text('{"version": 1, "entries"')
    assert len(fleet.names()) == 2
    assert fleet.readings == 2


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        ("{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}", True),
        ("{camera}/{date:%Y/%m/%d}/{vehicle}/{any}{ext}", True),
        ("{vehicle}/{start:%Y/%m/%d/%H%M%S}{ext}", True),
        ("{vehicle}_{date:%Y%j}/{rest}", True),
        ("{camera}/{date:%Y/%m/%d}/{vehicle}_{start:%H%M%S}{ext}", False),
        ("{vehicle}/{start:%Y%m%d_%H%M%S}{ext}", False),
        ("{vehicle}/{rest}", False),
        ("{date:%Y-%m-%d}/{any}_{vehicle}{ext}", False),
        ("{rest}/{vehicle}/{date:%Y-%m-%d}/{start:%H%M%S}{ext}", False),
    ],
)
def test_which_templates_give_partitions_folders_of_their_own(template: str, parts: bool) -> None:
    assert Settings(path_template=template).template().parts_folders is parts


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "nothing lies there. Look at VIDEO_ASSETS_SOURCE"),
        (["notes.txt", "more/notes.txt"], "2 objects, none a video that counts. Look at VIDEO_EXTENSIONS"),
        (["x.mp4"], "1 video, none of which fits. Set VIDEO_ASSETS_PATH_TEMPLATE"),
    ],
)
def test_a_source_without_uploads_says_what_to_change(tmp_path: Path, files: list[str], words: str) -> None:
    (tmp_path / "more").mkdir()
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    listing = open_source(Settings(source=str(tmp_path), settle_s=0))
    assert list(listing.everything()) == []
    assert words in listing.named_examples()[0]
    assert tmp_path.as_uri() in listing.named_examples()[0]

"""Videos deleted at the source: kept, removed, or refused because it looks like a mistake (SPEC R3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets.stages.deletions import MAX_SHARE, MemoryDamaged, RemovedVideos, decide_removal
from video_assets.stages.manifest import Manifest
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.registry import open_store
from video_assets_tests.stages.uploads import DAY, Uploads

REMOVE: dict[str, Any] = {"on_source_delete": "remove"}


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    """Ten videos of the front camera, and ten of the rear one."""
    uploads = Uploads(tmp_path)
    for camera in ("front", "rear"):
        for minute in range(10):
            uploads.put(camera, b"video", ".mp4", f"08{minute:02}00")
    uploads.manifest()
    return uploads


def gone(uploads: Uploads, camera: str, *minutes: int) -> None:
    for minute in minutes:
        (uploads.root / f"uploads/{DAY.vehicle}/{DAY.date}/{camera}/08{minute:02}00.mp4").unlink()


def starts(manifest: Manifest) -> set[str]:
    return {f"{row['camera']} {row['video_path'][-10:-4]}" for row in manifest.fold.rows.to_pylist()}


def test_rows_stay_by_default_and_go_where_that_is_set(uploads: Uploads) -> None:
    gone(uploads, "front", 0, 1)
    kept = uploads.manifest()
    assert (len(kept.fold.rows), kept.removal.gone, kept.removal.paths) == (20, 2, frozenset())
    removed = uploads.manifest(**REMOVE)
    assert len(removed.fold.rows) == 18
    assert not starts(removed) & {"front 080000", "front 080100"}
    assert (len(removed.removal.paths), removed.removal.gone, removed.removal.refusal) == (2, 0, None)
    assert len(uploads.manifest(**REMOVE).fold.rows) == 18


def test_more_than_a_fifth_of_a_partition_is_not_removed(uploads: Uploads) -> None:
    gone(uploads, "front", *range(5))
    manifest = uploads.manifest(**REMOVE)
    assert len(manifest.fold.rows) == 20
    assert sum(row["source_deleted_at"] is not None for row in manifest.fold.rows.to_pylist()) == 5
    assert manifest.removal.refusal == "5 of 20 videos are gone from the source, more than 20%"
    assert str(manifest.removal.told(DAY)).endswith("video-assets remove-deleted '2026-01-03|veh-7' --force")
    uploads.put("front", b"video", ".mp4", "080000")
    manifest = uploads.manifest(**REMOVE)
    assert (len(manifest.removal.paths), len(manifest.fold.rows)) == (4, 16), "one came back"


def test_a_rule_that_takes_a_little_at_a_time_is_stopped_too(uploads: Uploads) -> None:
    sizes = []
    for minute in range(10):
        gone(uploads, "front", minute)
        sizes.append(len(uploads.manifest(**REMOVE).fold.rows))
    assert sizes == [19, 18, 17, 16, 16, 16, 16, 16, 16, 16]
    told = str(uploads.manifest(**REMOVE).removal.refusal)
    assert told == "10 of 20 videos are gone from the source, 4 of them removed before, more than 20%"


def test_a_folder_of_which_nothing_is_left_is_not_removed(uploads: Uploads) -> None:
    for minute in range(2):
        uploads.put("left", b"video", ".mp4", f"08{minute:02}00")
    uploads.manifest()
    gone(uploads, "left", 0, 1)
    manifest = uploads.manifest(**REMOVE)
    assert len(manifest.fold.rows) == 22
    assert str(manifest.removal.refusal).startswith("nothing is left of file:///")
    assert str(manifest.removal.refusal).endswith("/left/")


def test_who_says_so_for_one_partition_removes_all(uploads: Uploads) -> None:
    from video_assets.stages.manifest import build_manifest

    gone(uploads, "front", *range(10))
    gone(uploads, "rear", *range(9))
    assert len(uploads.manifest(**REMOVE).fold.rows) == 20
    forced = build_manifest(DAY, tables=uploads.tables, settings=uploads.settings(), on_source_delete="force")
    uploads.tables.commit(forced.fold)
    assert starts(forced) == {"rear 080900"}
    gone(uploads, "rear", 9)
    assert uploads.manifest(**REMOVE).removal.refusal is not None, "forcing is for once"


def test_a_source_that_is_away_wrong_or_shut_removes_nothing(uploads: Uploads) -> None:
    before = uploads.manifest().fold.rows
    source = uploads.root / "uploads"
    with pytest.raises(StoreUnavailable):
        uploads.manifest(**REMOVE, source=str(uploads.root / "nowhere"))
    (uploads.root / "other").mkdir()
    assert uploads.manifest(**REMOVE, source=str(uploads.root / "other")).fold.rows.equals(before), "another source"
    below = uploads.manifest(**REMOVE, source=str(source / str(DAY.vehicle)))
    assert below.fold.rows.equals(before), "a prefix that the rows lie below, by which no key means this partition"
    aside = source.rename(uploads.root / "aside")
    source.mkdir()
    empty = uploads.manifest(**REMOVE)
    assert empty.removal.refusal is not None, "a mount that is not there is an empty folder"
    assert len(empty.fold.rows) == 20
    source.rmdir()
    aside.rename(source)
    back = uploads.manifest(**REMOVE)
    assert back.fold.rows.equals(before), "the marks are cleared"


def test_what_is_back_but_still_settling_is_not_gone(uploads: Uploads) -> None:
    gone(uploads, "front", 0)
    assert uploads.manifest().removal.gone == 1
    path = uploads.put("front", b"video", ".mp4", "080000")
    path.touch()
    manifest = uploads.manifest(**REMOVE)
    assert (manifest.removal.gone, len(manifest.fold.rows)) == (0, 20)
    assert manifest.fold.rows["source_deleted_at"].null_count == 20


def test_a_memory_that_cannot_be_read_removes_nothing(uploads: Uploads) -> None:
    gone(uploads, "front", 0)
    store = open_store(str(uploads.root / "store"))
    RemovedVideos(store, DAY).write(["x"])
    store.put(f"video_manifest/{DAY.path}/removed.json", b"[1, 2")
    with pytest.raises(MemoryDamaged, match=r"removed\.json: cannot be read"):
        uploads.manifest(**REMOVE)


NAMES = st.sets(st.integers(0, 40).map(lambda number: f"file:///fleet/cam-{number % 4}/{number}.mp4"))


@given(st.lists(NAMES, min_size=1, max_size=8), NAMES)
def test_whatever_goes_bit_by_bit_no_more_than_a_fifth_goes(steps: list[set[str]], first: set[str]) -> None:
    known, removed, deleted = set(first), set[str](), set[str]()
    for step in steps:
        deleted |= step & first
        lost = known & deleted
        removal = decide_removal(lost, known - lost, removed, forced=False)
        assert removal.paths <= lost
        assert bool(removal.paths) != bool(removal.refusal) or not lost
        known -= removal.paths
        removed |= removal.paths
    assert len(removed) <= MAX_SHARE * len(first)
    assert decide_removal(known & deleted, known - deleted, removed, forced=True).paths == known & deleted

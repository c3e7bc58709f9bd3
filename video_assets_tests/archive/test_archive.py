"""Numbered folders by vehicle and date: never above their size, gone on with after a kill, and each file verified."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from video_assets.archive.archive import Archived, archive
from video_assets.archive.errors import ArchiveFailed, ArchiveRefused
from video_assets.archive.plan import plan
from video_assets.downloads.selection import SelectedFile, Selection
from video_assets.keys import Partition
from video_assets_tests.downloads.small_fleet import Fleet
from video_assets_tests.stages.uploads import Uploads
from video_assets_tests.video.make_video import make_video

DAY = "veh-1/2026-01-03"
CAP = 2_000


def footage(sizes: list[int], first_hour: int = 8) -> dict[str, bytes]:
    """One file an hour, front and rear in turn."""
    dice = random.Random(1)
    return {
        f"{DAY}/{('front', 'rear')[n % 2]}/{first_hour + n:02}0000.mp4": dice.randbytes(size)
        for n, size in enumerate(sizes)
    }


def run(fleet: Fleet, root: Path, selection: Selection | None = None, **options: Any) -> Archived:
    done = archive(selection or Selection(), root, settings=fleet.settings, **{"folder_bytes": CAP, **options})
    assert not list(root.rglob("*.part"))
    return done


def tree(root: Path) -> dict[str, bytes]:
    """Every file of the numbered folders."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*/*") if p.is_file()}


def sizes(root: Path) -> dict[str, int]:
    """Bytes of each numbered folder, whatever lies in it."""
    return {
        str(folder.relative_to(root)): sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        for folder in root.glob("*/*/*")
    }


def check_sums(root: Path) -> None:
    """By the program that people have."""
    for sums in root.rglob("SHA256SUMS"):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", sums.name], cwd=sums.parent, check=True)
        listed = len(sums.read_text().splitlines())
        assert listed == sum(path.is_file() for path in sums.parent.rglob("*")) - 1


def test_files_lie_by_vehicle_and_date_in_order_of_time_and_no_folder_is_above_its_size(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, {**footage([700, 700, 700, 300, 900]), "veh-2/2026-01-04/front/090000.mp4": b"two"})
    root = tmp_path / "archive"
    done = run(fleet, root)
    assert sorted(path for path in tree(root) if "SHA" not in path) == [
        f"{DAY}/001/front/080000.mp4",
        f"{DAY}/001/rear/090000.mp4",
        f"{DAY}/002/front/100000.mp4",
        f"{DAY}/002/rear/110000.mp4",
        f"{DAY}/003/front/120000.mp4",
        "veh-2/2026-01-04/001/front/090000.mp4",
    ]
    assert done.copied == 6
    assert done.folders[f"{DAY}/001"] == (2, 1400)
    assert all(size <= CAP for size in sizes(root).values())
    check_sums(root)
    for key in footage([1] * 5):
        camera, name = key.split("/")[2:]
        (copy,) = root.glob(f"{DAY}/*/{camera}/{name}")
        assert copy.read_bytes() == (fleet.source / key).read_bytes()


def test_a_file_above_the_size_has_a_folder_of_its_own(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, footage([500, 5_000, 500, 500]))
    run(fleet, tmp_path / "archive")
    found = {p for p in tree(tmp_path / "archive") if "SHA" not in p}
    assert found == {
        f"{DAY}/001/front/080000.mp4",
        f"{DAY}/002/rear/090000.mp4",
        f"{DAY}/003/front/100000.mp4",
        f"{DAY}/003/rear/110000.mp4",
    }


def test_a_rerun_copies_what_came_since_and_nothing_else(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([700, 700])), tmp_path / "archive"
    run(fleet, root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.mp4")}
    again = run(fleet, root)
    assert (again.copied, again.here) == (0, 2)
    # Earlier in the day than what is there, which stays where it is.
    for key, data in footage([300, 700], first_hour=1).items():
        fleet.put(key, data)
    fleet.list_uploads()
    assert run(fleet, root).folders == {f"{DAY}/001": (1, 300), f"{DAY}/002": (1, 700)}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    check_sums(root)


def test_what_was_moved_to_a_disk_is_not_copied_again_and_numbers_go_on(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([700, 700, 700])), tmp_path / "archive"
    run(fleet, root)
    for number in ("001", "002"):
        shutil.move(root / DAY / number, tmp_path / f"disk-{number}")
    done = run(fleet, root)
    assert (done.copied, done.here, done.moved) == (0, 0, 3)
    for key, data in footage([100], first_hour=20).items():
        fleet.put(key, data)
    fleet.list_uploads()
    assert run(fleet, root).folders == {f"{DAY}/003": (1, 100)}


def test_what_is_damaged_or_missing_in_a_folder_that_is_there_comes_back(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([300, 300, 300])), tmp_path / "archive"
    run(fleet, root)
    whole = tree(root)
    (root / DAY / "001/front/080000.mp4").unlink()
    (root / DAY / "001/rear/090000.mp4").write_bytes(b"cut")
    assert run(fleet, root).copied == 2
    assert tree(root) == whole


def test_a_new_version_has_a_place_of_its_own_and_the_old_bytes_stay(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([300])), tmp_path / "archive"
    run(fleet, root)
    (key,) = footage([1])
    old = (fleet.source / key).read_bytes()
    fleet.put(key, b"new")
    fleet.list_uploads()
    assert run(fleet, root).folders == {f"{DAY}/002": (1, 3)}
    assert (root / DAY / "001/front/080000.mp4").read_bytes() == old
    assert (root / DAY / "002/front/080000.mp4").read_bytes() == b"new"


def test_what_others_put_there_is_left_alone(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([300, 300])), tmp_path / "archive"
    mine = root / DAY / "004/front/080000.mp4"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    assert run(fleet, root).folders == {f"{DAY}/005": (2, 600)}
    theirs = root / DAY / "005/front/100000.mp4"
    theirs.write_bytes(b"theirs")
    for key, data in footage([200], first_hour=10).items():
        fleet.put(key, data)
    fleet.list_uploads()
    assert run(fleet, root).folders == {f"{DAY}/006": (1, 200)}
    assert (mine.read_bytes(), theirs.read_bytes()) == (b"mine", b"theirs")


def test_killed_and_run_again_it_is_as_if_never_killed(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([400_000] * 14)), tmp_path / "archive"
    command = [sys.executable, "-m", "video_assets.cli", "archive", str(root), "--folder-gib", "0.001"]
    environment = {
        **os.environ,
        **{f"VIDEO_ASSETS_{n.upper()}": getattr(fleet.settings, n) for n in ("source", "store", "index")},
    }
    for wanted in (1, 5):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(root.rglob("*.mp4"))) < wanted:
            time.sleep(0.001)
        process.kill()
        process.wait()
        # As a kill in the middle of a write leaves them.
        (root / DAY / "001/front").mkdir(parents=True, exist_ok=True)
        (root / DAY / "001/front/.video_assets-x.part").write_bytes(b"half")
        with (root / "archive.jsonl").open("ab") as record:
            record.write(b'{"path": "veh-1/20')
    for place in (root, tmp_path / "unbroken"):
        run(fleet, place, folder_bytes=round(0.001 * 1024**3))
    assert tree(root) == tree(tmp_path / "unbroken")
    assert len(tree(root)) == 14 + 7
    check_sums(root)
    assert (run(fleet, root).copied, run(fleet, root).here) == (0, 14)


def test_too_little_space_is_told_before_anything_is_written(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([300])), tmp_path / "archive"
    huge = fleet.put(f"{DAY}/front/230000.mp4", b"")
    with huge.open("wb") as file:
        file.truncate(shutil.disk_usage(tmp_path).free + 2**30)
    os.utime(huge, (1_767_000_000,) * 2)
    fleet.list_uploads()
    with pytest.raises(ArchiveRefused, match=r"needs .* GiB for 2 files, and its disk has .* GiB left"):
        run(fleet, root)
    assert not tree(root)


@pytest.mark.parametrize("place", ["uploads", "uploads/archive", "store/archive", "."])
def test_it_writes_neither_to_the_source_nor_to_the_store(tmp_path: Path, place: str) -> None:
    fleet = Fleet(tmp_path, footage([300]))
    with pytest.raises(ArchiveRefused, match=r"(lies in|holds) VIDEO_ASSETS_(SOURCE|STORE)"):
        archive(Selection(), tmp_path / place, settings=fleet.settings)


def test_a_file_that_changed_since_its_table_fails_alone(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([300, 300])), tmp_path / "archive"
    fleet.put(f"{DAY}/rear/090000.mp4", b"overwritten since")
    with pytest.raises(ArchiveFailed, match=r"1 of 2 files: file://\S*rear/090000.mp4: is version"):
        run(fleet, root)
    assert [path for path in tree(root) if "SHA" not in path] == [f"{DAY}/001/front/080000.mp4"]
    fleet.list_uploads()
    assert run(fleet, root).folders == {f"{DAY}/001": (1, 17)}
    check_sums(root)


def test_clips_are_held_against_their_checksums(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    uploads.put("front", make_video(tmp_path / "a.mp4", frames=60).read_bytes(), ".mp4")
    uploads.manifest()
    rows = uploads.clips(clip_seconds=1).rows.to_pylist()
    assert len(rows) > 1
    blob = Path(rows[0]["clip_uri"].removeprefix("file://"))
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    options = {"settings": uploads.settings(), "folder_bytes": 10**9}
    with pytest.raises(ArchiveFailed, match=r"has the checksum sha256:.*, and its table says sha256:"):
        archive(Selection("clips"), tmp_path / "archive", **options)  # type: ignore[arg-type]
    blob.write_bytes(whole)
    done = archive(Selection("clips"), tmp_path / "archive", **options)  # type: ignore[arg-type]
    assert (done.copied, done.here) == (1, len(rows) - 1)
    assert sorted(p.name for p in (tmp_path / "archive").rglob("*.mp4")) == [
        f"083000_{number:06d}.mp4" for number in range(len(rows))
    ]
    check_sums(tmp_path / "archive")


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "no json",
        '{"path": "a/b"}',
        json.dumps({"path": "../../../x", "source": "s", "version": "", "size_bytes": 1, "sha256": ""}),
    ],
)
def test_a_record_that_no_archive_wrote_is_refused(tmp_path: Path, line: str) -> None:
    fleet, root = Fleet(tmp_path, footage([300])), tmp_path / "archive"
    run(fleet, root)
    with (root / "archive.jsonl").open("a") as record:
        record.write(f"{line}\n")
    with pytest.raises(ArchiveRefused, match="line 3: is no line that an archive writes"):
        run(fleet, root)


def test_two_runs_at_a_time_are_refused(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([300])), tmp_path / "archive"
    root.mkdir()
    with (root / ".archive.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ArchiveRefused, match="has another run at work"):
            run(fleet, root)
    assert run(fleet, root).copied == 1


@pytest.mark.parametrize("name", ["../x", "/etc/x", "C:/x", "a\\b", "a\nb"])
def test_a_name_that_leads_out_fails_alone(tmp_path: Path, name: str) -> None:
    def selected(file: str) -> SelectedFile:
        day = Partition("2026-01-03", "veh-1")
        return SelectedFile("file:///a", "1", "rec", "cam", file, partition=day, object_bytes=5)

    made = plan([selected(name), selected("good.mp4")], tmp_path, [], CAP)
    assert [due.planned.path for due in made.due] == [f"{DAY}/001/cam/good.mp4"]
    assert len(made.failures) == 1
    assert "file:///a" in made.failures[0]


def test_no_link_leads_out_of_the_archive(tmp_path: Path) -> None:
    fleet, root = Fleet(tmp_path, footage([300])), tmp_path / "archive"
    (tmp_path / "away").mkdir()
    root.mkdir()
    (root / "veh-1").symlink_to(tmp_path / "away")
    with pytest.raises(ArchiveRefused, match="leads out of"):
        run(fleet, root)
    assert not [*(tmp_path / "away").iterdir()]

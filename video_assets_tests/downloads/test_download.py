"""A selection onto a disk: planned wholly, refused wholly, and each file whole or not there."""

from __future__ import annotations

import filecmp
import os
import random
import subprocess
import sys
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import video_assets
from video_assets.downloads.download import download
from video_assets.downloads.errors import DestinationExists, DownloadFailed, NothingSelected
from video_assets.downloads.layout import plan
from video_assets.downloads.selection import SelectedFile, Selection
from video_assets.errors import VideoAssetsError
from video_assets.folder_probe import FolderUnwritable
from video_assets_tests.downloads.small_fleet import Fleet
from video_assets_tests.stages.uploads import DAY, Uploads
from video_assets_tests.video.make_video import make_video


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_recording_is_a_vehicles_footage_of_one_start_over_its_cameras(fleet: Fleet, tmp_path: Path) -> None:
    assert fleet.download(Selection(), tmp_path / "out") == [
        "veh-1_20260103T083000Z/front/083000.mp4",
        "veh-1_20260104T083000Z/front/083000.mp4",
        "veh-2_20260103T091500Z/front/083000.mp4".replace("083000.mp4", "091500.mp4"),
        "veh-1_20260103T083000Z/rear/083000.mp4",
    ]
    assert (tmp_path / "out/veh-1_20260103T083000Z/rear/083000.mp4").read_bytes() == b"one rear"


@pytest.mark.parametrize(
    ("layout", "first"),
    [
        ("by_recording", "veh-2_20260103T091500Z/front/091500.mp4"),
        ("by_modality", "front/veh-2_20260103T091500Z/091500.mp4"),
        ("flat", "veh-2_20260103T091500Z__front/091500.mp4"),
    ],
)
def test_each_layout(fleet: Fleet, tmp_path: Path, layout: str, first: str) -> None:
    assert fleet.download(Selection(vehicles=("veh-2",)), tmp_path / "out", layout) == [first]


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(vehicles=("veh-1",)), 3),
        (Selection(cameras=("rear",)), 1),
        (Selection(from_date=date(2026, 1, 4)), 1),
        (Selection(to_date=date(2026, 1, 3)), 3),
        (Selection(prefix="veh-1/2026-01-03/"), 2),
        (Selection(prefix="veh-1/", cameras=("front",)), 2),
        ([Selection(vehicles=("veh-2",)), Selection(cameras=("rear",))], 2),
    ],
)
def test_each_way_to_select(fleet: Fleet, tmp_path: Path, selection: Any, count: int) -> None:
    assert len(fleet.download(selection, tmp_path / "out")) == count


def test_a_list_of_uris_is_taken_and_several_selections_keep_their_order(fleet: Fleet, tmp_path: Path) -> None:
    uris = [(fleet.source / key).as_uri() for key in ("veh-2/2026-01-03/front/091500.mp4",)]
    found = fleet.download([Selection(uris=tuple(uris)), Selection(vehicles=("veh-1",))], tmp_path / "out")
    assert found[0] == "veh-2_20260103T091500Z/front/091500.mp4"
    assert len(found) == 4


def test_two_sources_for_one_destination_name_both(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is where two sources would go: file://.*front.*and file://.*front") as error:
        fleet.download([Selection(), Selection(vehicles=("veh-1",))], tmp_path / "out")
    assert isinstance(error.value, VideoAssetsError)
    assert not (tmp_path / "out").exists()


def test_all_files_in_the_way_are_told_at_once(tmp_path: Path) -> None:
    files = [SelectedFile(f"file:///a/{n}", None, "rec", "cam", f"{n:02}.mp4") for n in range(23)]
    folder = tmp_path / "rec/cam"
    folder.mkdir(parents=True)
    for number in range(22):
        (folder / f"{number:02}.mp4").touch()
    with pytest.raises(FileExistsError) as error:
        plan(files, tmp_path, "by_recording")
    assert isinstance(error.value, DestinationExists)
    text = str(error.value)
    assert text.startswith("22 files in the way: ")
    assert str(folder / "19.mp4") in text
    assert str(folder / "20.mp4") not in text
    assert ", and 2 more. Nothing was written." in text
    assert len(plan(files, tmp_path, "by_recording", overwrite=True)) == 23


def test_a_folder_in_the_way_is_not_overwritten(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "out/veh-2_20260103T091500Z/front/091500.mp4").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        fleet.download(Selection(), tmp_path / "out", overwrite=True)


def test_overwrite_replaces_and_skip_existing_goes_on(fleet: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fleet.download(Selection(), out)
    first = out / "veh-1_20260103T083000Z/front/083000.mp4"
    first.write_bytes(b"old")
    fleet.download(Selection(), out, overwrite=True)
    assert first.read_bytes() == b"one front"
    first.write_bytes(b"mine")
    (out / "veh-2_20260103T091500Z/front/091500.mp4").unlink()
    assert len(fleet.download(Selection(), out, skip_existing=True)) == 4
    assert first.read_bytes() == b"mine"
    assert (out / "veh-2_20260103T091500Z/front/091500.mp4").read_bytes() == b"two"


@pytest.mark.parametrize("selection", [Selection(prefix="veh-9/"), Selection(vehicles=("veh-9",))])
def test_a_selection_without_a_file_is_not_found(fleet: Fleet, tmp_path: Path, selection: Selection) -> None:
    with pytest.raises(FileNotFoundError, match="has no file") as error:
        fleet.download(selection, tmp_path / "out")
    assert isinstance(error.value, NothingSelected)


def test_a_failed_file_leaves_nothing_and_the_others_stay(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("veh-1/2026-01-03/rear/083000.mp4", b"overwritten since the manifest")
    with pytest.raises(DownloadFailed, match=r"1 of 4 files: file://\S*rear/083000.mp4: is version") as error:
        fleet.download(Selection(), tmp_path / "out")
    assert "skipping what exists" in str(error.value)
    written = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written == ["083000.mp4", "083000.mp4", "091500.mp4"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:/x", "a\\b", "a//b", "a\0b", "."])
def test_no_key_leads_out_of_the_destination(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="could lead out of the destination"):
        plan([SelectedFile("file:///a", None, "rec", "cam", name)], tmp_path, "by_recording")


def test_no_link_leads_out_of_the_destination(fleet: Fleet, tmp_path: Path) -> None:
    out, away = tmp_path / "out", tmp_path / "away"
    out.mkdir()
    away.mkdir()
    (out / "veh-2_20260103T091500Z").symlink_to(away)
    with pytest.raises(ValueError, match="leads out of"):
        fleet.download(Selection(), out)
    assert not [*away.iterdir()]


def test_a_file_where_another_needs_a_folder_names_both(tmp_path: Path) -> None:
    files = [SelectedFile(f"file:///{name}", None, "rec", "cam", name) for name in ("a", "a/b")]
    with pytest.raises(ValueError, match="would be a file for file:///a, and a folder for file:///a/b"):
        plan(files, tmp_path, "by_recording")


def test_flat_refuses_names_that_it_could_not_take_apart(tmp_path: Path) -> None:
    file = SelectedFile("file:///a", None, "veh__1_2026", "front", "a.mp4")
    with pytest.raises(ValueError, match="holds '__'"):
        plan([file], tmp_path, "flat")
    assert plan([file], tmp_path, "by_recording")


def test_what_a_killed_download_left_is_swept_when_it_is_a_day_old(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "out/veh-2_20260103T091500Z/front"
    folder.mkdir(parents=True)
    old, new = folder / ".video_assets-a.part", folder / ".video_assets-b.part"
    old.touch()
    os.utime(old, (1_767_000_000,) * 2)
    new.touch()
    download(Selection(), tmp_path / "out", settings=fleet.settings)
    assert not old.exists()
    assert new.exists()


def test_clips_and_frames_are_those_of_the_tables(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    video = make_video(tmp_path / "a.mp4", frames=60)
    uploads.put("front", video.read_bytes(), ".mp4")
    uploads.manifest()
    uploads.clips(clip_seconds=1)
    uploads.tables.commit(uploads.frames(clip_seconds=1, frames_sampling="fps=2"))
    settings = uploads.settings()
    clips = download(Selection("clips"), tmp_path / "clips", settings=settings)
    recording = f"{DAY.vehicle}_20260103T083000Z"
    assert [path.name for path in clips] == [f"083000_{number:06d}.mp4" for number in range(len(clips))]
    assert {path.parent for path in clips} == {tmp_path / "clips" / recording / "front"}
    frames = download(Selection("frames"), tmp_path / "frames", "by_modality", settings=settings)
    assert len(frames) >= 4
    assert frames[0] == tmp_path / "frames/front" / recording / "083000_000000/000000.jpg"
    assert all(path.read_bytes().startswith(b"\xff\xd8") for path in frames)


def test_a_clip_that_was_left_where_it_is_comes_in_the_version_of_its_row(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    video = uploads.put("front", make_video(tmp_path / "a.mp4", frames=5).read_bytes(), ".mp4")
    uploads.manifest()
    uploads.clips(clips_mode="reference")
    settings = uploads.settings(clips_mode="reference")
    (clip,) = download(Selection("clips"), tmp_path / "clips", settings=settings)
    assert clip.read_bytes() == video.read_bytes()
    uploads.put("front", b"overwritten since", ".mp4")
    with pytest.raises(DownloadFailed, match="is version"):
        download(Selection("clips"), tmp_path / "clips", overwrite=True, settings=settings)
    assert clip.read_bytes() != b"overwritten since"


@pytest.mark.parametrize("size", [100_000_000, pytest.param(1_000_000_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, size: int) -> None:
    fleet = Fleet(tmp_path)
    path = fleet.source / "veh-3/2026-01-03/front/083000.mp4"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.write(random.Random(1).randbytes(1000))
        file.truncate(size)
    tracemalloc.start()
    (got,) = download(Selection(prefix="veh-3/"), tmp_path / "out", settings=fleet.settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got.stat().st_size == size
    assert peak < 20_000_000


@pytest.mark.slow
def test_the_whole_processs_memory_is_flat_on_a_gigabyte(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    peaks = {}
    for name, size in {"small": 1_000_000, "large": 1_000_000_000}.items():
        path = fleet.source / name / "2026-01-03/front/083000.mp4"
        path.parent.mkdir(parents=True)
        chance = random.Random(1)
        with path.open("wb") as file:
            for _ in range(size // 1_000_000):
                file.write(chance.randbytes(1_000_000))
        command = [sys.executable, "-m", "video_assets.cli", "download", str(tmp_path / name), "--prefix", f"{name}/"]
        environment = os.environ | {"VIDEO_ASSETS_SOURCE": str(fleet.source), "VIDEO_ASSETS_STORE": str(tmp_path / "s")}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        (got,) = (tmp_path / name).rglob("*.mp4")
        assert filecmp.cmp(got, path, shallow=False)
        peaks[name] = used.ru_maxrss * 1024
    assert peaks["large"] - peaks["small"] < 20_000_000


def test_the_package_gives_download_without_loading_it() -> None:
    assert video_assets.download is download
    assert video_assets.Selection is Selection
    with pytest.raises(AttributeError, match="no attribute 'upload'"):
        video_assets.upload  # noqa: B018


def test_a_destination_that_cannot_be_made_is_told_once(fleet: Fleet) -> None:
    with pytest.raises(FolderUnwritable, match=r"^/proc/out: cannot be made: No such file or directory"):
        download(Selection(), "/proc/out", settings=fleet.settings)

"""Workers that crash, hang or eat memory cost the real stages one failed row each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from video_assets.table_store.table_store import Fold
from video_assets_tests.stages.item_functions import WAYS, clip_or_misbehave, frames_or_misbehave
from video_assets_tests.stages.uploads import Uploads
from video_assets_tests.video.make_video import make_video

LIMITS = {"item_timeout_s": 2.0, "item_memory_mib": 1024}
EXPECTED = {
    "segfault": ("crash", "died by SIGSEGV"),
    "leave": ("crash", "exited with status 0"),
    "hang": ("timeout", "no result after 2 s"),
    "hog": ("memory", "a worker may have 1024 MiB (VIDEO_ASSETS_ITEM_MEMORY_MIB)"),
}


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    """A clip for each way to misbehave, and two good ones."""
    uploads = Uploads(tmp_path)
    data = make_video(tmp_path / "v.mp4").read_bytes()
    for camera in ("front", *WAYS, "rear"):
        uploads.put(camera, data, ".mp4")
    return uploads


def check(fold: Fold) -> None:
    by_camera: dict[str, list[dict[str, Any]]] = {}
    for row in fold.rows.to_pylist():
        by_camera.setdefault(row["camera"], []).append(row)
    assert by_camera.keys() == {"front", "rear", *WAYS}
    assert {row["status"] for camera in ("front", "rear") for row in by_camera[camera]} == {"ok"}
    for camera, (stage, message) in EXPECTED.items():
        (row,) = by_camera[camera]
        assert (row["status"], row["error_stage"], row["attempts"]) == ("failed", stage, 1)
        assert message in row["error_msg"]
        assert row["video_path"].endswith(f"/{camera}/083000.mp4")


def test_clips(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("video_assets.stages.clips.make_clip", clip_or_misbehave)
    uploads.manifest()
    check(uploads.clips(**LIMITS))


def test_frames(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("video_assets.stages.frames.make_frames", frames_or_misbehave)
    uploads.manifest()
    uploads.clips()
    check(uploads.frames(**LIMITS))


def test_frames_that_do_not_fit_into_memory_cost_their_clip(tmp_path: Path) -> None:
    """A few kilobytes of video, hundreds of megabytes of picture. It is done once the limit is raised."""
    uploads = Uploads(tmp_path)

    def gray(_: int, width: int, height: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.full((height, width, 3), 128, np.uint8)

    make = {"codec": "mjpeg", "frames": 1, "pix_fmt": "yuvj444p", "picture": gray}
    uploads.put("huge", make_video(tmp_path / "huge.mkv", size=(8000, 8000), **make).read_bytes(), ".mkv")
    uploads.put("fine", make_video(tmp_path / "fine.mkv").read_bytes(), ".mkv")
    uploads.manifest()
    uploads.clips(item_memory_mib=512)
    tight = uploads.frames(item_memory_mib=512, frames_sampling="every_s=9", frames_format="png")
    rows = {row["camera"]: row for row in tight.rows.to_pylist()}
    assert (rows["huge"]["status"], rows["huge"]["error_stage"]) == ("failed", "memory")
    assert "VIDEO_ASSETS_ITEM_MEMORY_MIB" in rows["huge"]["error_msg"]
    assert rows["fine"]["status"] == "ok"
    again = uploads.frames(item_memory_mib=4096, frames_sampling="every_s=9", frames_format="png")
    assert (again.made, again.count("failed")) == (1, 0)

"""Every kind of bad upload costs its own rows only, and they say what is wrong and where."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from video_assets_tests.stages.uploads import Uploads
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, run_ffmpeg
from video_assets_tests.video.make_video import make_video
from video_assets_tests.video.mp4_boxes import with_boxes


def sound(path: Path, *, pictures: tuple[tuple[int, int], ...] = ()) -> bytes:
    """A second of sound in an MP4, and a video stream of each of these sizes."""
    with av.open(str(path), "w") as container:
        videos = [container.add_stream("mpeg4", rate=10) for _ in pictures]
        for video, (width, height) in zip(videos, pictures, strict=True):
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=16000)
        for video, (width, height) in zip(videos, pictures, strict=True):
            for number in range(10):
                frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), number * 20, np.uint8), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        for start in range(0, 16000, 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 16000, start
            container.mux(audio.encode(silence))
        container.mux(audio.encode(None))
    return path.read_bytes()


def cover_art(path: Path) -> bytes:
    sound(path.with_name("sound.mp4"))
    make_video(path.with_name("cover.avi"), codec="mjpeg", pix_fmt="yuvj420p", frames=1)
    inputs = ("-i", path.with_name("sound.mp4"), "-i", path.with_name("cover.avi"), "-map", "0", "-map", "1")
    run_ffmpeg(*inputs, "-c", "copy", "-disposition:v:0", "attached_pic", path)
    return path.read_bytes()


def absurd_size(path: Path) -> bytes:
    """A picture that claims 65,520 × 65,520 pixels."""
    data = make_video(path.with_suffix(".mkv"), codec="mjpeg", frames=2, pix_fmt="yuvj420p").read_bytes()
    wrong = data.replace(b"\xff\xc0\x00\x11\x08\x00\x40\x00\x60", b"\xff\xc0\x00\x11\x08\xff\xf0\xff\xf0")
    assert wrong != data
    return wrong


def faststart(path: Path) -> bytes:
    return make_video(path, container_options={"movflags": "+faststart"}).read_bytes()


def cut(path: Path) -> bytes:
    data = faststart(path)
    return data[: len(data) * 2 // 3]


def without_moov(path: Path) -> bytes:
    data = make_video(path).read_bytes()
    return data[: data.index(b"moov") - 4]


def flipped(path: Path) -> bytes:
    data, chance = bytearray(faststart(path)), random.Random(1)
    for at in range(len(data) // 2, len(data), 50):
        data[at] ^= 1 << chance.randrange(8)
    return bytes(data)


def endless_times(path: Path) -> bytes:
    """A hundred and fifty frames, 68 years apart."""
    data = make_video(path, frames=150).read_bytes().replace(b"edts", b"free")
    seconds = struct.pack(">IIIIIHH", 0, 0, 0, 1, 0, 0x55C4, 0)
    return with_boxes(data, {b"stts": struct.pack(">IIII", 0, 1, 150, 2**31 - 1), b"mdhd": seconds})


def negative_times(path: Path) -> bytes:
    """A transport stream whose clock begins again at 0 after half a second: that half lies before 0."""
    make_video(path.with_name("whole.mp4"))
    start = 2**33 / 90_000 - 1.4 - 0.5
    run_ffmpeg("-i", path.with_name("whole.mp4"), "-c", "copy", "-output_ts_offset", f"{start:.6f}", path)
    return path.read_bytes()


def absent_times(path: Path) -> bytes:
    return make_video(path, format="h264", bframes=2).read_bytes()


def unknown_codec(path: Path) -> bytes:
    return make_video(path).read_bytes().replace(b"avc1", b"zzz9")


@dataclass(frozen=True)
class Kind:
    """What is uploaded, and what becomes of it: `failed` is where and why, `frames` how many images there are."""

    data: Callable[[Path], bytes]
    frames: int = 0
    failed: tuple[str, str, str] | None = None
    suffix: str = ".mp4"


NO_VIDEO = ("clips", "probe", "cannot be opened as a video: Invalid data found")
NO_STREAM = ("clips", "probe", "has no video stream")
KINDS = {
    "not-a-video": Kind(lambda _: random.Random(1).randbytes(5000), failed=NO_VIDEO),
    "text-named-mp4": Kind(
        lambda _: b"hello, this is no video\n" * 500,
        failed=("clips", "probe", "cannot be opened as a video: it begins like text"),
    ),
    "cover-art-only": Kind(cover_art, failed=NO_STREAM),
    "audio-only": Kind(sound, failed=NO_STREAM),
    "several-video-streams": Kind(lambda path: sound(path, pictures=((64, 48), (320, 240))), 2),
    "absurd-size": Kind(absurd_size, failed=("frames", "decode", "no frame can be decoded"), suffix=".mkv"),
    "missing-moov": Kind(without_moov, failed=("clips", "probe", r"ends before its index \(moov\)")),
    "cut": Kind(cut, 3, ("frames", "decode", r"ends 0\.\d+ s early: 1\.\d+ of 2\.000 s declared")),
    "flipped-bits": Kind(flipped, 4, ("frames", "decode", r"first (at|after) \d\.\d+ s")),
    "endless-times": Kind(endless_times, 150),
    "negative-times": Kind(negative_times, 4, suffix=".ts"),
    "absent-times": Kind(absent_times, 4, suffix=".h264"),
    "unknown-codec": Kind(unknown_codec, failed=("clips", "probe", "of a codec that cannot be decoded here")),
    "fine": Kind(faststart, 4),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """All kinds in one partition, each by a camera of its name."""
    root = tmp_path_factory.mktemp("bad_input")
    uploads = Uploads(root)
    for name, kind in KINDS.items():
        (root / name).mkdir()
        uploads.put(name, kind.data(root / name / f"made{kind.suffix}"), kind.suffix)
    uploads.put("empty", b"", ".mp4")
    manifest = uploads.manifest()
    assert manifest.skipped["empty"] == 1
    clips = uploads.clips()
    frames = uploads.frames(frames_sampling="fps=2")
    assert (clips.made, uploads.clips().made, uploads.frames(frames_sampling="fps=2").made) == (len(KINDS), 0, 0)
    return {"clips": clips.rows.to_pylist(), "frames": frames.rows.to_pylist()}


@needs_ffmpeg
@pytest.mark.parametrize("name", KINDS)
def test_bad_input_costs_its_own_rows_which_say_what_and_where(
    name: str, tables: dict[str, list[dict[str, Any]]]
) -> None:
    kind = KINDS[name]
    (clip,) = (row for row in tables["clips"] if row["camera"] == name)
    frames = [row for row in tables["frames"] if row["camera"] == name]
    failed = [(table, row) for table, rows in tables.items() for row in rows if row["camera"] == name]
    failed = [(table, row) for table, row in failed if row["status"] == "failed" and row.get("image_id") is None]
    assert len(failed) == (kind.failed is not None)
    if kind.failed is not None:
        ((table, row),) = failed
        where, stage, why = kind.failed
        assert (table, row["error_stage"], row["attempts"]) == (where, stage, 1)
        assert re.search(why, row["error_msg"])
        assert row["error_msg"].startswith(row["video_path"])
    good = [row for row in frames if row["image_id"] is not None]
    assert len(good) == kind.frames
    assert (clip["status"] == "ok") == (kind.failed is None or kind.failed[0] == "frames")


@needs_ffmpeg
def test_the_first_of_several_video_streams_is_taken_and_the_row_says_so(
    tables: dict[str, list[dict[str, Any]]],
) -> None:
    """FFmpeg's own choice is the larger one."""
    (clip,) = (row for row in tables["clips"] if row["camera"] == "several-video-streams")
    assert (clip["video_streams"], clip["width"], clip["height"]) == (2, 64, 48)
    frames = [row for row in tables["frames"] if row["camera"] == "several-video-streams"]
    assert {(frame["width"], frame["height"]) for frame in frames} == {(64, 48)}
    assert {row["video_streams"] for row in tables["clips"] if row["camera"] == "fine"} == {1}


@needs_ffmpeg
def test_a_time_beyond_the_calendar_is_kept_as_it_is(tables: dict[str, list[dict[str, Any]]]) -> None:
    times = [row for row in tables["frames"] if row["camera"] == "endless-times"]
    assert [row["pts"] for row in times] == [(2**31 - 1) * number for number in range(150)]
    assert times[0]["captured_at"] is not None
    assert times[-1]["captured_at"] is None


@needs_ffmpeg
def test_times_before_zero_count_from_the_first_frame(tables: dict[str, list[dict[str, Any]]]) -> None:
    times = [row for row in tables["frames"] if row["camera"] == "negative-times"]
    assert times[0]["pts"] < 0
    assert [row["pts_s"] for row in times] == [0, 0.5, 1, 1.5]

"""Windows cut at entries: one after the other they are the source, its pixels and its times, by ffmpeg's own decode."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from video_assets.video.decode import SampledFrames
from video_assets.video.errors import DecodeError, TruncatedMedia
from video_assets.video.index import index_video
from video_assets.video.remux import WindowCopies
from video_assets.video.sampling import EverySeconds, Keyframes
from video_assets.video.windows import CannotCut, plan_windows
from video_assets_tests.video.cut_videos import copied, keep
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, pixel_md5, presented_frames, probe
from video_assets_tests.video.made_videos import MADE, SEQUENTIAL, made_video
from video_assets_tests.video.make_video import footage, make_video

HALF = Fraction(1, 2)

WHOLE = {
    "h264_gop250.mp4",
    "h264_b_gop250.mp4",
    "h264_open_gop.mp4",
    "h264_intra_refresh.mp4",
    "h264_one_frame.mp4",
    "hevc_open_gop.mp4",
    "hevc_10bit.mkv",
    "hevc_variable.mkv",
    "hevc_odd_444.mp4",
    "hevc.ts",
} | SEQUENTIAL - {"h264_interlaced.mp4"}
"""Those of the made videos that no entry after the first cuts cleanly."""


@needs_ffmpeg
@pytest.mark.parametrize("name", [name for name in MADE if name not in WHOLE])
def test_the_windows_one_after_the_other_are_the_source(name: str, videos: Path, tmp_path: Path) -> None:
    windows = copied(made_video(name, videos), Fraction(1), tmp_path)
    whole = presented_frames(made_video(name, videos))
    assert len(windows) > 1
    assert [frame for window in windows for frame in window.frames] == whole
    assert [window.index.frame_count for window in windows] == [len(window.frames) for window in windows]
    for window, following in pairwise(windows):
        assert window.end == following.start == following.frames[0][0]


@needs_ffmpeg
@pytest.mark.parametrize("name", sorted(WHOLE))
def test_what_no_entry_cuts_cleanly_is_not_cut(name: str, videos: Path) -> None:
    with pytest.raises(CannotCut):
        plan_windows(index_video(made_video(name, videos)), HALF, label=name)


@needs_ffmpeg
def test_an_hevc_stream_with_closed_groups_is_cut(tmp_path: Path) -> None:
    options = {
        "x265-params": "log-level=none:pools=1:frame-threads=1:keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=0"
    }
    video = make_video(tmp_path / "v.mp4", codec="libx265", options=options)
    windows = copied(video, HALF, tmp_path / "windows")
    assert [window.index.frame_count for window in windows] == [24, 12, 12, 12]
    assert [frame for window in windows for frame in window.frames] == presented_frames(video)


@needs_ffmpeg
def test_real_footage(tmp_path: Path) -> None:
    windows = copied(footage("bikes.mp4"), Fraction(1), tmp_path)
    assert len(windows) > 1
    assert [frame for window in windows for frame in window.frames] == presented_frames(footage("bikes.mp4"))


@pytest.mark.parametrize("turn", list(product([0, 90, 180, 270], [False, True])), ids=str)
def test_the_orientation_goes_along(turn: tuple[int, bool], tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=24, rotate=turn[0], hflip=turn[1])
    for window in copied(video, Fraction(1, 4), tmp_path / "windows"):
        assert window.index.orientation == index_video(video).orientation
        assert (window.index.width, window.index.height) == (index_video(video).width, index_video(video).height)


@needs_ffmpeg
def test_durations_add_up_and_ffprobe_reads_them(videos: Path, tmp_path: Path) -> None:
    video = made_video("h264_ntsc.mp4", videos)
    windows = copied(video, HALF, tmp_path)
    assert sum(window.end - window.start for window in windows) == Fraction(60 * 1001, 30000)
    for window in windows:
        assert float(probe(window.path)["duration"]) == pytest.approx(float(window.end - window.start), abs=1e-6)
        assert [stream["codec_type"] for stream in [probe(window.path)]] == ["video"]


def test_a_long_last_frame_does_not_make_a_window_look_cut_off(tmp_path: Path) -> None:
    """Its length would be declared, and no reader finds it in packets that are not in order of presentation."""
    pts = [0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104, 200]
    for name, bframes in (("v.mkv", 0), ("v.mp4", 0), ("b.mp4", 2)):
        video = make_video(tmp_path / name, frames=12, gop=6, pts=pts, time_base=Fraction(1, 10), bframes=bframes)
        for window in copied(video, Fraction(1), tmp_path / name.replace(".", "_")):
            frames = SampledFrames(window.path, Keyframes())
            assert list(frames)
            assert frames.report.problem is None


def test_the_same_source_gives_the_same_bytes(videos: Path, tmp_path: Path) -> None:
    for name in ("h264_b.mp4", "vp8.webm"):
        video = made_video(name, videos)
        first, second = (
            [window.path.read_bytes() for window in copied(video, HALF, tmp_path / run)] for run in ("1", "2")
        )
        assert first == second


def test_windows_are_sampled_by_a_plan_and_key_frames_stay_the_same(videos: Path, tmp_path: Path) -> None:
    video = made_video("h264_b.mp4", videos)
    in_windows = []
    for window in copied(video, HALF, tmp_path):
        frames = SampledFrames(window.path, Keyframes())
        in_windows += [(window.start + pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames]
        assert frames.report.mode == "planned"
    frames = SampledFrames(video, Keyframes())
    assert in_windows == [(pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames]


@needs_ffmpeg
def test_a_cut_off_video_gives_windows_up_to_there_and_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("v.mp4", "v.mkv"):
        options = {"movflags": "+faststart"} if name == "v.mp4" else {}
        data = make_video(tmp_path / name, frames=90, bframes=2, container_options=options).read_bytes()
        cut_off = tmp_path / f"cut_{name}"
        cut_off.write_bytes(data[: len(data) // 2])
        index = index_video(cut_off)
        copies = WindowCopies(cut_off, index, plan_windows(index, HALF, label="cam/1"), label="cam/1")
        windows = keep(copies, index.time_base, tmp_path / name.replace(".", "_"))
        assert isinstance(copies.problem, TruncatedMedia)
        good = [frame for window in windows[:-1] for frame in window.frames]
        assert good == presented_frames(tmp_path / name)[: len(good)]
        assert sum(window.index.frame_count for window in windows) == index.frame_count


def test_incomplete_packets_are_told_of(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.ts", bframes=2)
    data = bytearray(video.read_bytes())
    packet = 188 * (len(data) // 188 // 2)
    video.write_bytes(bytes(data[:packet] + data[packet + 188 :]))
    index = index_video(video)
    copies = WindowCopies(video, index, plan_windows(index, HALF, label="cam/1"), label="cam/1")
    assert sum(clip.index.frame_count for clip in copies) == index.frame_count
    assert isinstance(copies.problem, DecodeError)
    assert "incomplete" in str(copies.problem)


class _Away(Exception):
    """A store's own error."""


class _Failing(io.BytesIO):
    """Fails on the n-th read."""

    fail_on = 0

    def read(self, size: int | None = -1) -> bytes:
        self.fail_on -= 1
        if self.fail_on == 0:
            raise _Away
        return super().read(size)


def test_a_store_that_fails_is_never_taken_for_the_end_of_a_window(tmp_path: Path) -> None:
    file = _Failing(make_video(tmp_path / "v.mkv", frames=60, size=(320, 240), options={"crf": "4"}).read_bytes())
    index = index_video(file)
    windows = plan_windows(index, HALF, label="cam/1")
    for fail_on in (1, 2):
        file.fail_on = fail_on
        with pytest.raises(_Away):
            for _ in WindowCopies(file, index, windows, label="cam/1"):
                pass


def test_another_file_than_the_index_is_of_is_refused(tmp_path: Path) -> None:
    index = index_video(make_video(tmp_path / "one.mp4"))
    other = make_video(tmp_path / "other.mp4", frames=50)
    with pytest.raises(CannotCut, match="other packets"):
        list(WindowCopies(other, index, plan_windows(index, HALF, label="v")))


def test_times_that_the_container_cannot_hold_are_refused(tmp_path: Path) -> None:
    """VP8 goes into Matroska, whose times are whole milliseconds."""
    video = make_video(tmp_path / "v.avi", codec="libvpx", options={"auto-alt-ref": "0", "lag-in-frames": "0"})
    index = index_video(video)
    with pytest.raises(CannotCut, match="other times"):
        list(WindowCopies(video, index, plan_windows(index, HALF, label="v")))


@pytest.mark.parametrize("kind", ["colorspace", "color_range", "sample_aspect_ratio"])
def test_what_colours_and_shape_are_declared_goes_along(kind: str, tmp_path: Path) -> None:
    def setup(stream: object) -> None:
        context = stream.codec_context  # type: ignore[attr-defined]
        context.colorspace, context.color_range = 9, 2
        context.sample_aspect_ratio = Fraction(4, 3)

    video = make_video(tmp_path / "v.mkv", frames=24, setup=setup)
    for window in copied(video, Fraction(1, 4), tmp_path / "windows"):
        assert getattr(window.index, kind) == getattr(index_video(video), kind)


def test_samples_of_windows_are_samples_of_the_source(videos: Path, tmp_path: Path) -> None:
    """With windows that begin on the grid of the samples."""
    policy = EverySeconds(Fraction(1, 5))
    video = made_video("h264_gop12.mp4", videos)
    whole = SampledFrames(video, policy)
    wanted = [(pts * whole.index.time_base, pixel_md5(frame)) for pts, frame in whole]
    found = []
    for window in copied(video, Fraction(2, 5), tmp_path):
        frames = SampledFrames(window.path, policy)
        found += [(window.start + pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames]
    assert np.array_equal([time for time, _ in found], [time for time, _ in wanted])
    assert found == wanted

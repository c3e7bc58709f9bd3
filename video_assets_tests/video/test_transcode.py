"""Windows cut exactly: each frame in the window of its time, at its time, with its colours, by ffmpeg's own reading."""

from __future__ import annotations

import contextlib
import io
import random
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from video_assets.video.decode import SampledFrames
from video_assets.video.errors import DecodeError, EncodeError, MediaError
from video_assets.video.image import to_rgb
from video_assets.video.index import index_video
from video_assets.video.remux import WindowCopies
from video_assets.video.sampling import EverySeconds
from video_assets.video.transcode import WindowEncodings
from video_assets.video.windows import CannotCut, plan_windows
from video_assets_tests.video.cut_videos import Kept, encoded, keep
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, presented_frames, probe
from video_assets_tests.video.made_videos import made_video
from video_assets_tests.video.make_video import make_video, moving_picture

HALF = Fraction(1, 2)
EACH = EverySeconds(Fraction(1, 1_000_000))

SAME = 4
"""Levels of 255. Another matrix or range makes 8 and more."""

COVERED = [
    "h264_b.mp4",
    "h264_open_gop.mp4",
    "h264_variable.mp4",
    "h264_variable.mkv",
    "h264_late_start.mkv",
    "h264_edit_list.mp4",
    "h264_ntsc.mp4",
    "h264.avi",
    "hevc_open_gop.mp4",
    "mpeg4_b.avi",
    "mpeg2_b.mpg",
    "vp9.webm",
]
"""What entries cut, and what they do not."""


def waves(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Strong colours without noise, so that a new encoding costs next to nothing."""
    y, x = np.mgrid[0:height, 0:width]
    turns = (x + 5 * index) / 17, (y - 3 * index) / 23, (x + y + 7 * index) / 29
    return np.stack([128 + 120 * np.sin(turn) for turn in turns], axis=-1).astype(np.uint8)


def pictures(video: Path | io.BytesIO) -> list[NDArray[np.int64]]:
    """Every frame as RGB, as the platform sees it."""
    frames = SampledFrames(video, EACH, planned=False)
    return [frames.index.orientation.apply(to_rgb(frame)).astype(np.int64) for _, frame in frames]


def mean_difference(windows: list[Kept], video: Path) -> float:
    """Mean absolute difference to the source over all frames, in levels of 255."""
    ours, theirs = [picture for window in windows for picture in pictures(window.path)], pictures(video)
    assert len(ours) == len(theirs)
    return max(float(np.abs(one - other).mean()) for one, other in zip(ours, theirs, strict=True))


@needs_ffmpeg
@pytest.mark.parametrize("name", COVERED)
def test_each_frame_is_in_the_window_of_its_time_and_keeps_it(name: str, videos: Path, tmp_path: Path) -> None:
    video = made_video(name, videos)
    whole = [time for time, _ in presented_frames(video)]
    windows = encoded(video, HALF, tmp_path)
    assert [time for window in windows for time, _ in window.frames] == whole
    wanted: dict[int, list[Fraction]] = {}
    for time in whole:
        wanted.setdefault(int((time - whole[0]) // HALF), []).append(time)
    assert {window.number: [time for time, _ in window.frames] for window in windows} == wanted
    assert [window.end for window in windows[:-1]] == [window.start for window in windows[1:]]


@pytest.mark.parametrize("name", ["h264_b.mp4", "h264_10bit.mp4", "h264_422.mp4", "h264_odd_444.mp4", "mjpeg.avi"])
def test_the_pictures_are_the_same_to_the_eye(name: str, videos: Path, tmp_path: Path) -> None:
    video = made_video(name, videos)
    windows = encoded(video, Fraction(1), tmp_path)
    assert {window.index.pixel_format for window in windows} == {index_video(video).pixel_format}
    assert mean_difference(windows, video) < SAME


def test_an_odd_size_keeps_its_every_row_and_column(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mkv", codec="ffv1", size=(97, 65), frames=6, picture=waves)
    windows = encoded(video, Fraction(1), tmp_path)
    assert (windows[0].index.width, windows[0].index.height) == (97, 65)
    assert mean_difference(windows, video) < SAME


def test_rgb_keeps_its_colours(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mkv", codec="ffv1", pix_fmt="bgr0", frames=6, picture=waves)
    assert index_video(video).pixel_format == "bgr0"
    windows = encoded(video, Fraction(1), tmp_path)
    assert mean_difference(windows, video) < SAME


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "gray"])
@pytest.mark.parametrize(("matrix", "color_range"), [(1, 1), (6, 2), (9, 1), (2, 0)])
def test_declared_colours_go_along(matrix: int, color_range: int, pix_fmt: str, tmp_path: Path) -> None:
    def setup(stream: av.VideoStream) -> None:
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, color_range
        context.color_primaries = context.color_trc = 2 if matrix == 2 else 1

    video = make_video(tmp_path / "v.mkv", codec="ffv1", pix_fmt=pix_fmt, frames=3, setup=setup, picture=waves)
    (window,) = encoded(video, Fraction(1), tmp_path)
    index = index_video(video)
    if pix_fmt != "gray":
        assert (window.index.colorspace, window.index.color_range) == (index.colorspace, index.color_range)
    assert mean_difference([window], video) < SAME


@pytest.mark.parametrize("rotate", [0, 90])
def test_the_shape_of_pixels_goes_along(rotate: int, tmp_path: Path) -> None:
    def setup(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    video = make_video(tmp_path / "v.mp4", frames=3, setup=setup, rotate=rotate)
    (window,) = encoded(video, Fraction(1), tmp_path / "windows")
    assert window.index.sample_aspect_ratio == index_video(video).sample_aspect_ratio != 1


@pytest.mark.parametrize("turn", list(product([0, 90, 180, 270], [False, True])), ids=str)
def test_the_orientation_goes_along(turn: tuple[int, bool], tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=4, rotate=turn[0], hflip=turn[1], picture=waves)
    (window,) = encoded(video, Fraction(1), tmp_path)
    assert window.index.orientation == index_video(video).orientation
    assert mean_difference([window], video) < SAME


@needs_ffmpeg
def test_interlaced_footage_stays_interlaced(videos: Path, tmp_path: Path) -> None:
    video = made_video("h264_interlaced.mp4", videos)
    for window in encoded(video, Fraction(1), tmp_path):
        assert window.index.interlaced
        assert probe(window.path)["field_order"] == probe(video)["field_order"] == "tt"


def test_the_same_source_gives_the_same_bytes(videos: Path, tmp_path: Path) -> None:
    video = made_video("h264_b.mp4", videos)
    first, second = ([w.path.read_bytes() for w in encoded(video, HALF, tmp_path / run)] for run in ("1", "2"))
    assert first == second


def test_a_long_last_frame_does_not_make_a_window_look_cut_off(tmp_path: Path) -> None:
    pts = [0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104, 200]
    video = make_video(tmp_path / "v.mkv", frames=12, pts=pts, time_base=Fraction(1, 10))
    for window in encoded(video, Fraction(1), tmp_path / "windows"):
        frames = SampledFrames(window.path, EACH)
        assert list(frames)
        assert frames.report.problem is None


def test_frames_that_may_show_damage_are_left_out_and_told_of(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", bframes=2)
    index, data = index_video(path), bytearray(path.read_bytes())
    start, size = int(index.position[30]), int(index.size_bytes[30])
    data[start + size // 2 : start + size] = bytes(size - size // 2)
    damaged = SampledFrames(io.BytesIO(bytes(data)), EACH, planned=False)
    reached = {pts for pts, _ in damaged if damaged.damaged}
    assert reached
    encodings = WindowEncodings(io.BytesIO(bytes(data)), index, HALF, label="cam/1")
    windows = keep(encodings, index.time_base, tmp_path)
    assert isinstance(encodings.problem, DecodeError)
    assert sum(window.index.frame_count for window in windows) == damaged.report.sampled - len(reached)


def test_windows_before_a_change_of_size_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        _mux_pictures(container, [(time, (96, 64) if time < 15 else (64, 48)) for time in range(25)])
    windows = iter(WindowEncodings(path, index_video(path), Fraction(1)))
    first = next(windows)
    assert (first.number, first.index.frame_count) == (0, 10)
    with pytest.raises(EncodeError, match="change their size"):
        next(windows)


def test_frames_at_a_time_already_taken_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        _mux_pictures(container, [(time, (96, 64)) for time in (0, 1, 2, 2, 3, 4)])
    encodings = WindowEncodings(path, index_video(path), HALF, label="cam/1")
    assert sum(clip.index.frame_count for clip in encodings) == 5
    assert str(encodings.problem) == "cam/1: 1 frames are not later than the one before and are left out"


def _mux_pictures(container: av.container.OutputContainer, pictures: list[tuple[int, tuple[int, int]]]) -> None:
    """JPEGs of these sizes at these tenths of a second."""
    stream = container.add_stream("mjpeg", rate=10)
    stream.width, stream.height, stream.pix_fmt = *pictures[0][1], "yuvj420p"
    for number, (time, size) in enumerate(pictures):
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *size, "yuvj420p", Fraction(1, 10)
        frame = av.VideoFrame.from_ndarray(moving_picture(number, *size), format="rgb24")
        for packet in encoder.encode(frame.reformat(format="yuvj420p")):
            packet.pts = packet.dts = time
            packet.time_base, packet.stream = Fraction(1, 10), stream
            container.mux(packet)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["h264_b.mp4", "h264_late_start.mkv", "h264.ts", "vp8.webm"])
def test_random_damage_never_escapes_a_cut_as_another_error(name: str, videos: Path) -> None:
    data, chance = made_video(name, videos).read_bytes(), random.Random(name)
    for _ in range(8):
        damaged = bytearray(data)
        at = chance.randrange(len(damaged))
        damaged[at : at + chance.randrange(1, 60)] = chance.randbytes(chance.randrange(0, 60))
        file = io.BytesIO(bytes(damaged))
        with contextlib.suppress(MediaError, CannotCut):
            index = index_video(file)
            for cut in (
                WindowEncodings(file, index, HALF),
                WindowCopies(file, index, plan_windows(index, HALF, label="cam/1")),
            ):
                assert sum(clip.index.frame_count for clip in cut) > 0
                assert cut.problem is None or isinstance(cut.problem, MediaError)

"""What the index says of a container, against ffprobe."""

from __future__ import annotations

import io
import os
import pickle
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from video_assets.video.index import index_video
from video_assets.video.orientation import Orientation
from video_assets.video.packets import NO_TIME
from video_assets.video.random_access import RandomAccess
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, presented_frames, probe
from video_assets_tests.video.made_videos import MADE, made_video
from video_assets_tests.video.make_video import make_video


@needs_ffmpeg
@pytest.mark.parametrize("name", MADE)
def test_shape_and_times_agree_with_ffprobe(name: str, videos: Path) -> None:
    path = made_video(name, videos)
    index, said = index_video(path), probe(path)
    assert index.codec == said["codec_name"]
    assert index.container == said["format"]["format_name"]
    assert index.pixel_format == said["pix_fmt"]
    assert (index.width, index.height) == (said["width"], said["height"])
    assert index.time_base == Fraction(said["time_base"])
    frames = presented_frames(path)
    assert index.frame_count == len(frames)
    if not (index.pts == NO_TIME).any():
        assert [int(t) * index.time_base for t in index.pts[index.presented]] == [time for time, _ in frames]


@needs_ffmpeg
@pytest.mark.parametrize("name", [n for n in MADE if "variable" not in n and "one_frame" not in n])
def test_rate_and_duration_of_constant_rate_video(name: str, videos: Path) -> None:
    path = made_video(name, videos)
    index, said = index_video(path), probe(path)
    assert index.average_rate == Fraction(30000, 1001) if "ntsc" in name else 30
    assert index.average_rate == pytest.approx(float(Fraction(said["avg_frame_rate"])), rel=0.03)
    assert index.duration_s == pytest.approx(index.frame_count / float(index.average_rate), abs=0.002)


def test_variable_rate(videos: Path) -> None:
    index = index_video(made_video("h264_variable.mkv", videos))
    assert index.average_rate == Fraction(19, 4)
    assert index.duration_s == pytest.approx(4.03, abs=0.01)


def test_start_time_is_not_part_of_the_duration(videos: Path) -> None:
    index = index_video(made_video("h264_late_start.mkv", videos))
    assert index.start_s == 100
    assert index.duration_s == pytest.approx(2, abs=0.001)
    assert index.declared_duration_s == pytest.approx(2, abs=0.001)


@needs_ffmpeg
def test_frames_before_an_edit_list_are_not_presented(videos: Path) -> None:
    index = index_video(made_video("h264_edit_list.mp4", videos))
    assert index.discard.any()
    assert index.frame_count == 45
    assert index.pts[index.presented[0]] == 0


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_turned_video_has_its_displayed_size(rotate: int, tmp_path: Path) -> None:
    index = index_video(make_video(tmp_path / "v.mp4", frames=3, size=(96, 64), rotate=rotate))
    assert index.rotation == rotate
    assert (index.width, index.height) == ((64, 96) if rotate % 180 else (96, 64))


def test_colours_and_pixel_shape_as_declared(tmp_path: Path) -> None:
    def setup(stream: object) -> None:
        context = stream.codec_context  # type: ignore[attr-defined]
        context.colorspace, context.color_range = 9, 1
        context.sample_aspect_ratio = Fraction(4, 3)

    index = index_video(make_video(tmp_path / "v.mp4", frames=3, setup=setup, rotate=90))
    assert (index.colorspace, index.color_range) == (9, 1)
    assert index.sample_aspect_ratio == Fraction(3, 4)


def test_key_frames_sizes_and_positions_describe_the_file(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", gop=12, bframes=2)
    index, data = index_video(path), path.read_bytes()
    assert np.flatnonzero(index.keyframe).tolist() == [0, 12, 24, 36, 48]
    assert (index.entry == index.keyframe).all()
    first = data[index.position[0] : index.position[0] + index.size_bytes[0]]
    assert len(first) == index.size_bytes[0]
    assert first[4] & 31 in (5, 6, 7)


def test_only_frames_that_restart_the_decoder_are_entries(videos: Path) -> None:
    index = index_video(made_video("h264_open_gop.mp4", videos))
    assert np.count_nonzero(index.keyframe) > np.count_nonzero(index.entry) == 1


@needs_ffmpeg
@pytest.mark.parametrize("name", MADE)
def test_interlaced_footage_is_told_from_progressive(name: str, videos: Path) -> None:
    path = made_video(name, videos)
    fields = probe(path).get("field_order", "progressive") not in ("progressive", "unknown")
    assert index_video(path).interlaced is fields is ("interlaced" in name)


@needs_ffmpeg
@pytest.mark.parametrize("name", MADE)
def test_a_whole_video_misses_no_frame(name: str, videos: Path) -> None:
    index = index_video(made_video(name, videos))
    declares = Path(name).suffix in (".mp4", ".mov", ".avi")
    assert (index.declared_frames, index.missing_frames) == ((len(index.pts), 0) if declares else (None, None))


@pytest.mark.parametrize("name", ["v.mp4", "fragmented.mp4", "v.avi"])
def test_frames_that_a_cut_off_video_declares_are_missing(name: str, tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov" if name.startswith("frag") else "+faststart"}
    codec = {"codec": "mjpeg", "pix_fmt": "yuvj420p"} if name == "v.avi" else {"container_options": options}
    data = make_video(tmp_path / name, **codec).read_bytes()  # type: ignore[arg-type]
    index = index_video(io.BytesIO(data[: len(data) * 2 // 3]))
    assert index.declared_frames is not None
    assert index.missing_frames == index.declared_frames - len(index.pts) > 0
    if not name.startswith("frag"):
        assert index.declared_frames == 60


def test_frames_that_an_edit_list_takes_off_the_end_are_not_missing(tmp_path: Path) -> None:
    data = bytearray(make_video(tmp_path / "v.mp4", frames=90, bframes=2).read_bytes())
    length = data.index(b"elst") + 12
    assert int.from_bytes(data[length : length + 4], "big") == 3000
    data[length : length + 4] = (1000).to_bytes(4, "big")
    index = index_video(io.BytesIO(bytes(data)))
    assert index.frame_count == 30
    assert index.missing_frames == 0


def test_empty_packets_of_an_avi_are_no_missing_frames(tmp_path: Path) -> None:
    """A capture program writes one where it had no time for a frame: the one before is shown on."""
    data = make_video(tmp_path / "v.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=20).read_bytes()
    entries, movi = data.index(b"idx1") + 8, data.index(b"movi")
    emptied = bytearray(data)
    for number in (5, 6):
        size = entries + 16 * number + 12
        chunk = movi + int.from_bytes(data[size - 4 : size], "little")
        emptied[size : size + 4] = emptied[chunk + 4 : chunk + 8] = bytes(4)
    index = index_video(io.BytesIO(bytes(emptied)))
    assert (len(index.pts), index.declared_frames, index.missing_frames) == (18, 18, 0)


def test_bug_a_parameter_set_cut_short_replaced_the_containers(tmp_path: Path) -> None:
    """Of a key frame in a store only the beginning is looked at, which may end within one."""
    with av.open(str(make_video(tmp_path / "v.mp4", frames=1))) as container:
        access = RandomAccess(container.streams.video[0].codec_context)
    message, parameter_set, slice_ = (bytes([0, 0, 0, 9, kind]) + b"somewhat" for kind in (6, 7, 5))
    assert access.confirms(message) is None
    assert access.confirms(message + parameter_set[:8]) is None
    assert access.confirms(message + slice_) is True
    assert access.confirms(message + parameter_set + slice_) is False, "without its picture parameter set"
    assert access.confirms(message + slice_) is False, "and the container's no longer count"


def test_an_index_survives_a_process_boundary(tmp_path: Path) -> None:
    index = index_video(make_video(tmp_path / "v.mp4", frames=3))
    assert (pickle.loads(pickle.dumps(index)).pts == index.pts).all()


@pytest.mark.parametrize(
    ("orientation", "rotation", "mirrored"),
    [
        (Orientation(), 0, False),
        (Orientation(True, True, False), 90, False),
        (Orientation(False, True, True), 180, False),
        (Orientation(True, False, True), 270, False),
        (Orientation(False, True, False), 0, True),
        (Orientation(False, False, True), 180, True),
        (Orientation(True, False, False), 90, True),
    ],
)
def test_rotation_is_clockwise_and_before_a_mirror(orientation: Orientation, rotation: int, mirrored: bool) -> None:
    pixels = np.arange(6).reshape(2, 3)
    turned = np.rot90(pixels, -rotation // 90)
    assert (orientation.apply(pixels) == (turned[:, ::-1] if mirrored else turned)).all()
    assert (orientation.rotation, orientation.mirrored) == (rotation, mirrored)


def _hevc_setup(layers: int, start_coded: bool) -> bytes:
    """An hvcC record, or a start-coded sequence parameter set, of so many temporal layers."""
    if start_coded:
        return b"\x00\x00\x00\x01" + bytes([33 << 1, 1, (layers - 1) << 1 | 1])
    return bytes([1]) + bytes(20) + bytes([layers << 3 | 3]) + bytes(1)


@pytest.mark.parametrize("start_coded", [True, False])
@pytest.mark.parametrize(("layers", "skips"), [(1, True), (2, False), (3, False)])
def test_hevc_of_several_temporal_layers_is_decoded_whole(layers: int, skips: bool, start_coded: bool) -> None:
    """A frame that its own layer does not refer to may serve a higher one."""
    context: Any = SimpleNamespace(
        codec=SimpleNamespace(canonical_name="hevc"), extradata=_hevc_setup(layers, start_coded)
    )
    assert RandomAccess(context).skips_unreferenced is skips


def test_a_parameter_set_within_the_stream_counts_too() -> None:
    context: Any = SimpleNamespace(codec=SimpleNamespace(canonical_name="hevc"), extradata=_hevc_setup(1, True))
    access = RandomAccess(context)
    key = b"\x00\x00\x01" + bytes([19 << 1, 1, 0])
    for layers, skips in ((1, True), (2, False)):
        packet: Any = _KeyPacket(_hevc_setup(layers, True) + b"\x00\x00\x01\x44\x01\x00" + key)
        assert access.starts_at(packet)
        assert access.skips_unreferenced is skips


class _KeyPacket(bytes):
    is_keyframe = True

    def has_sidedata(self, _kind: str) -> bool:
        return False


def test_bug_an_av1_encoder_left_the_tests_in_real_time(videos: Path) -> None:
    """And with them every process they started."""
    made_video("av1.mp4", videos)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER

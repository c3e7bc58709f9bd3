"""Of a video in a store only its tables and what the samples need are read, and everything comes out the same."""

from __future__ import annotations

import functools
import io
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from video_assets.storage.object_store import ObjectChanged
from video_assets.video import container, index, media_file, packets, read_ahead
from video_assets.video.decode import SampledFrames
from video_assets.video.errors import MediaError
from video_assets.video.index import VideoIndex, index_video
from video_assets.video.media_file import MediaFile
from video_assets.video.sampling import EverySeconds, Keyframes, SamplingPolicy
from video_assets_tests.storage.counting_store import CountingStore, DistantStore
from video_assets_tests.video.counting_file import CountingFile, RangedFile
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, pixel_md5, run_ffmpeg
from video_assets_tests.video.made_videos import MADE, made_video
from video_assets_tests.video.make_video import make_video

FEW: list[SamplingPolicy] = [EverySeconds(Fraction(7, 10)), EverySeconds(Fraction(3, 2)), Keyframes()]


def _large_media_box(path: Path) -> None:
    """The size of `mdat` in 64 bits, as in files beyond 4 GB. FFmpeg leaves the room for it."""
    data = bytearray(make_video(path, bframes=2).read_bytes())
    at = data.index(b"mdat") - 4
    assert data[at - 4 : at] == b"free"
    data[at - 8 : at + 8] = struct.pack(">I4sQ", 1, b"mdat", struct.unpack_from(">I", data, at)[0] + 8)
    path.write_bytes(data)


def _to_the_end(path: Path) -> None:
    data = bytearray(make_video(path, container_options={"movflags": "+faststart"}).read_bytes())
    at = data.index(b"mdat") - 4
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)


def _with_audio(path: Path, options: tuple[str, ...]) -> None:
    whole = make_video(path.with_name("whole.mp4"), bframes=2, audio_s=2)
    run_ffmpeg("-i", whole, "-c:v", "copy", *options, path)


def _parameter_sets_in_band(path: Path) -> None:
    whole = make_video(path.with_name("whole.ts"), codec="libx265", bframes=2)
    run_ffmpeg("-i", whole, "-c", "copy", "-tag:v", "hev1", path)


def _long_messages(path: Path) -> None:
    """Before the first slice of each key frame more bytes than are looked at at once."""
    whole = make_video(path.with_name("whole.mp4"))
    message = f"h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+{'x' * 6000}"
    run_ffmpeg("-i", whole, "-c", "copy", "-bsf:v", message, path)


ODD: dict[str, Callable[[Path], object]] = {
    "faststart.mp4": functools.partial(make_video, bframes=3, container_options={"movflags": "+faststart"}),
    "large_box.mp4": _large_media_box,
    "to_the_end.mp4": _to_the_end,
    "quicktime.mov": functools.partial(_with_audio, options=("-c:a", "pcm_s16le", "-timecode", "01:00:00:00")),
    "ac3.mp4": functools.partial(_with_audio, options=("-c:a", "ac3")),
    "mp3.mp4": functools.partial(_with_audio, options=("-c:a", "mp3")),
    "fragments_indexed.mp4": functools.partial(
        make_video, container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof+global_sidx"}
    ),
    "hevc_in_band.mp4": _parameter_sets_in_band,
    "long_messages.mp4": _long_messages,
}
TABLES = [name for name in [*MADE, *ODD] if name.endswith((".mp4", ".mov"))]
SPARSE = [name for name in TABLES if not name.startswith(("mpeg", "prores"))]
UNTOLD = {"h264_gop1.mp4", "h264_one_frame.mp4", "long_messages.mp4"}
"""All frames are key frames, by a table that may only be missing; or too much else comes before the first slice."""


def video(name: str, folder: Path) -> Path:
    if name in MADE:
        return made_video(name, folder)
    path = folder / name.replace(".", "_") / name
    if not path.exists():
        path.parent.mkdir()
        ODD[name](path)
    return path


@pytest.fixture
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which videos of a few kB are read as large ones are."""
    monkeypatch.setattr(media_file, "_FIRST_BYTES", 512)
    monkeypatch.setattr(media_file, "_MAX_BYTES", 512)
    monkeypatch.setattr(media_file, "_BOX_BYTES", 16)
    monkeypatch.setattr(media_file, "_KEPT_BYTES", 1024)
    monkeypatch.setattr(read_ahead, "MAX_PIECE_BYTES", 700)
    monkeypatch.setattr(read_ahead, "MAX_GAP_BYTES", 0)
    monkeypatch.setattr(container, "_READ_BYTES", 512)
    monkeypatch.setattr(packets, "_HEAD_BYTES", 4096)


def differences(one: VideoIndex, other: VideoIndex) -> list[str]:
    pairs = {field.name: (getattr(one, field.name), getattr(other, field.name)) for field in fields(one)}
    return [name for name, (a, b) in pairs.items() if not np.array_equal(a, b)]


def index_in_full(path: Path) -> VideoIndex:
    found = index._read_index(MediaFile(path, "cam/1"), "cam/1", sparse=False)
    assert found is not None
    return found


def sampled(source: Path | io.FileIO, policy: SamplingPolicy, *, planned: bool = True) -> list[tuple[int, str]]:
    return [(pts, pixel_md5(frame)) for pts, frame in SampledFrames(source, policy, planned=planned)]


@needs_ffmpeg
@pytest.mark.parametrize("name", TABLES)
def test_an_index_from_tables_is_that_of_every_packet(name: str, videos: Path, small_reads: None) -> None:
    path = video(name, videos)
    assert differences(index_video(path), index_in_full(path)) == []


@needs_ffmpeg
@pytest.mark.parametrize("name", SPARSE)
def test_samples_of_a_sparse_read_are_those_of_a_full_decode(name: str, videos: Path, small_reads: None) -> None:
    path = video(name, videos)
    for policy in FEW:
        whole = sampled(path, policy, planned=False)
        for source in (CountingFile(path), RangedFile(path)):
            with source:
                assert sampled(source, policy) == whole != []


@needs_ffmpeg
@pytest.mark.parametrize("name", [*MADE, *ODD])
def test_media_data_is_left_out_where_tables_tell_all(name: str, videos: Path, small_reads: None) -> None:
    file = MediaFile(video(name, videos), "cam/1")
    found = index._read_index(file, "cam/1", sparse=True)
    assert file.sparse == (name in SPARSE)
    assert (found is None) == (name in UNTOLD)


@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_a_cut_file_has_the_same_index_either_way(cut: float, tmp_path: Path, small_reads: None) -> None:
    path = make_video(tmp_path / "v.mp4", frames=90, container_options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    assert differences(index_video(path), index_in_full(path)) == []


def test_tables_that_lie_cost_a_full_decode_and_change_nothing(tmp_path: Path, small_reads: None) -> None:
    """Key frames by a table that names others: no plan rests on them."""
    path = make_video(tmp_path / "v.mp4", bframes=2)
    policy = EverySeconds(Fraction(1, 2))
    whole = sampled(path, policy, planned=False)
    data = bytearray(path.read_bytes())
    at = data.index(b"stss")
    for entry in range(at + 12, at + 12 + 4 * 5, 4):
        struct.pack_into(">I", data, entry, struct.unpack_from(">I", data, entry)[0] + 3)
    path.write_bytes(data)
    frames = SampledFrames(path, policy)
    assert [(pts, pixel_md5(frame)) for pts, frame in frames] == whole
    assert not frames.index.entry.any()
    assert frames.report.mode == "sequential"


def test_damage_that_no_sample_needs_is_not_read(tmp_path: Path) -> None:
    path = noisy_video(tmp_path / "v.mp4", 10)
    known = index_video(path)
    data = bytearray(path.read_bytes())
    start = int(known.position[100])
    data[start : start + int(known.size_bytes[100])] = bytes(int(known.size_bytes[100]))
    path.write_bytes(data)
    frames = SampledFrames(path, EverySeconds(Fraction(5)))
    assert len(list(frames)) == 2
    assert (frames.report.mode, frames.report.problem) == ("planned", None)


class _Away(Exception):
    """A store's own error."""


class _Failing(CountingFile):
    def __init__(self, path: Path, fail_on: int) -> None:
        super().__init__(path)
        self._fail_on = fail_on

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if len(self.requests) == self._fail_on:
            raise _Away(self._fail_on)
        return data


def test_a_failed_read_is_raised_as_it_is_wherever_it_falls(tmp_path: Path, small_reads: None) -> None:
    path = make_video(tmp_path / "v.mp4", frames=40, bframes=2)
    policy = EverySeconds(Fraction(1, 2))
    with _Failing(path, 0) as healthy:
        assert len(sampled(healthy, policy)) == 3
    assert len(healthy.requests) > 20
    for fail_on in range(1, len(healthy.requests) + 1):
        with _Failing(path, fail_on) as source, pytest.raises(_Away):
            sampled(source, policy)


def test_a_failure_while_reading_ahead_is_raised_as_it_is(tmp_path: Path, small_reads: None) -> None:
    path = make_video(tmp_path / "v.mp4", frames=90)
    known = index_video(path)
    for n in np.flatnonzero(known.keyframe)[1:]:
        at = int(known.position[n] + known.size_bytes[n] - 1)
        with RangedFile(path, fail_at=at) as source, pytest.raises(ConnectionError, match=f"no bytes at {at}"):
            sampled(source, Keyframes())


def noisy_video(path: Path, seconds: int, *, moov_first: bool = True) -> Path:
    """8 Mbit/s at 30 frames a second, a key frame each second."""
    run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30,noise=alls=60:allf=t", "-t", str(seconds)),
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "30", "-sc_threshold", "0"),
        *("-b:v", "8M", "-minrate", "8M", "-maxrate", "8M", "-bufsize", "8M", "-x264-params", "nal-hrd=cbr"),
        *(("-movflags", "+faststart") if moov_first else ()),
        path,
    )
    assert path.stat().st_size == pytest.approx(seconds * 1_000_000, rel=0.05)
    return path


@needs_ffmpeg
@pytest.mark.parametrize("seconds", [60, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("moov_first", [True, False], ids=["moov first", "moov last"])
def test_one_frame_in_ten_seconds_reads_little(seconds: int, moov_first: bool, tmp_path: Path) -> None:
    path = noisy_video(tmp_path / "v.mp4", seconds, moov_first=moov_first)
    every = EverySeconds(Fraction(10))
    for source in (CountingFile(path), RangedFile(path)):
        with source:
            frames = SampledFrames(source, every)
            assert len(list(frames)) == seconds // 10
        report = frames.report
        assert report.mode == "planned"
        assert report.bytes_read == source.bytes_read
        assert report.bytes_total == path.stat().st_size
        assert report.bytes_read <= 0.05 * report.bytes_total, "the task is 30 %"
        assert len(source.requests) <= 1.3 * seconds + 20
    assert sampled(path, every) == sampled(path, every, planned=False)


@needs_ffmpeg
@pytest.mark.parametrize("kind", [CountingStore, DistantStore])
def test_a_clip_in_a_store_is_probed_and_sampled_by_ranges(kind: type[CountingStore], tmp_path: Path) -> None:
    path = noisy_video(tmp_path / "v.mp4", 30)
    store = kind(tmp_path)
    with store.open("v.mp4") as clip:
        found = index_video(clip)
        probing = store.bytes_read
        assert probing < 0.15 * path.stat().st_size, "the first second, and 16 to 64 KiB of each other"
        frames = SampledFrames(clip, EverySeconds(Fraction(10)))
        assert [(pts, pixel_md5(frame)) for pts, frame in frames] == sampled(path, EverySeconds(Fraction(10)))
    assert differences(found, frames.index) == []
    assert store.bytes_read < 2 * probing + 0.05 * path.stat().st_size


def test_a_clip_that_changes_meanwhile_is_no_mixture(tmp_path: Path, small_reads: None) -> None:
    make_video(tmp_path / "v.mp4", frames=90)
    store = DistantStore(tmp_path)
    with store.open("v.mp4") as clip:
        frames = iter(SampledFrames(clip, Keyframes()))
        next(frames)
        store.put("v.mp4", (tmp_path / "v.mp4").read_bytes())
        with pytest.raises(ObjectChanged):
            list(frames)


@needs_ffmpeg
def test_tables_are_fetched_once_for_all_passes(tmp_path: Path) -> None:
    path = noisy_video(tmp_path / "v.mp4", 20)
    end = path.read_bytes().index(b"mdat")
    with CountingFile(path) as source:
        assert len(sampled(source, EverySeconds(Fraction(5)))) == 4
    assert sum(min(at + length, end) - at for at, length in source.requests if at < end) == end


def test_what_has_no_tables_is_read_in_full(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mkv", frames=90)
    with CountingFile(path) as source:
        frames = SampledFrames(source, EverySeconds(Fraction(2)))
        assert len(list(frames)) == 2
    assert frames.report.bytes_read == frames.report.bytes_total == path.stat().st_size


def test_random_damage_never_escapes_as_another_error(tmp_path: Path, small_reads: None) -> None:
    whole = make_video(tmp_path / "v.mp4", bframes=2).read_bytes()
    chance, path = random.Random(4), tmp_path / "damaged.mp4"
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randrange(1, 60)] = chance.randbytes(chance.randrange(0, 60))
        path.write_bytes(damaged)
        try:
            frames = SampledFrames(path, FEW[0])
            assert len(list(frames)) == frames.report.sampled > 0
        except MediaError:
            continue


@pytest.fixture(autouse=True)
def no_threads_are_left() -> Iterator[None]:
    import threading

    before = threading.active_count()
    yield
    assert threading.active_count() <= before

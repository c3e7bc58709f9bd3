"""Hostile, damaged and cut files: a typed error or a report that says so, never silence, never a crash."""

from __future__ import annotations

import contextlib
import io
import pickle
import random
import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import pytest

from video_assets.video import container, packets
from video_assets.video.decode import SampledFrames
from video_assets.video.errors import (
    DecodeError,
    EncodeError,
    MediaError,
    NotAVideo,
    NoVideoStream,
    TruncatedMedia,
    UnreadableMedia,
)
from video_assets.video.extract import FrameExtraction
from video_assets.video.index import index_video
from video_assets.video.sampling import EverySeconds, SamplingPolicy, UniformCount
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, pixel_md5, presented_frames
from video_assets_tests.video.made_videos import made_video
from video_assets_tests.video.make_video import make_video
from video_assets_tests.video.mp4_boxes import claiming_samples

EACH = EverySeconds(Fraction(1, 1_000_000))
FEW = EverySeconds(Fraction(1, 2))


def decoded(source: Path | io.BytesIO, policy: SamplingPolicy = EACH, *, planned: bool = True) -> SampledFrames:
    frames = SampledFrames(source, policy, planned=planned, label="cam/1")
    for _ in frames:
        pass
    return frames


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 5000, b"hello, this is no video\n" * 500, b"\x89PNG\r\n\x1a\n" + b"\0" * 500, b"RIFF\0\0\0\0AVI "],
    ids=["empty", "zeros", "text", "png", "avi head"],
)
def test_what_is_no_video(data: bytes) -> None:
    with pytest.raises(NotAVideo, match=r"cam/1") as raised:
        index_video(io.BytesIO(data), label="cam/1")
    assert (raised.value.stage, raised.value.retryable) == ("probe", False)


def test_errors_cross_process_boundaries() -> None:
    for kind in (NotAVideo, NoVideoStream, DecodeError, EncodeError, TruncatedMedia, UnreadableMedia):
        error = pickle.loads(pickle.dumps(kind("cam/1", "is damaged", "Mend it")))
        assert isinstance(error, kind)
        assert isinstance(error, MediaError)
        assert str(error) == "cam/1: is damaged. Mend it"
    assert UnreadableMedia.retryable


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/v.mp4", "concat:/tmp/a|/tmp/b", "/nowhere/v.mp4", "a\0b", "data:,x"]
)
def test_an_address_is_only_ever_a_path(address: str) -> None:
    with pytest.raises(UnreadableMedia, match="cannot be read"):
        index_video(address)


def test_a_folder_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia):
        index_video(tmp_path)


@pytest.mark.parametrize("kind", ["hls", "concat", "sdp", "image list"])
def test_a_playlist_in_disguise_opens_nothing(kind: str, tmp_path: Path) -> None:
    other = make_video(tmp_path / "secret.ts", frames=10)
    text = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{other}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{other}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
        "image list": f"{other}\n" * 20,
    }[kind]
    disguised = tmp_path / "v.mp4"
    disguised.write_text(text)
    with pytest.raises(NotAVideo):
        index_video(disguised)


def test_a_container_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAVideo):
        index_video(make_video(tmp_path / "v.nut", format="nut", frames=5))


def test_even_a_known_script_format_may_open_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second lock behind the list of formats: FFmpeg opens nothing itself, whatever a format asks for."""
    make_video(tmp_path / "secret.ts", frames=10)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(container, "FORMATS", (*container.FORMATS, "concat"))
    with pytest.raises(MediaError):
        decoded(io.BytesIO(b"ffconcat version 1.0\nfile secret.ts\n"))


def test_audio_only_and_cover_art_have_no_video_stream(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as muxer:
        stream = muxer.add_stream("aac", rate=16000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 16000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        muxer.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(NoVideoStream):
        index_video(path)


def test_an_mp4_cut_while_it_was_written(tmp_path: Path) -> None:
    data = make_video(tmp_path / "v.mp4").read_bytes()
    with pytest.raises(NotAVideo):
        index_video(io.BytesIO(data[: data.index(b"moov") - 8]))


def test_a_cut_mkv_is_not_silently_short(tmp_path: Path) -> None:
    data = make_video(tmp_path / "v.mkv", bframes=2).read_bytes()
    for planned in (True, False):
        frames = decoded(io.BytesIO(data[: len(data) // 2]), planned=planned)
        assert 10 < frames.report.sampled < 50
        assert isinstance(frames.report.problem, TruncatedMedia)
        assert "s early" in str(frames.report.problem)


def test_a_cut_faststart_mp4_gives_its_good_frames_and_says_what_is_missing(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", container_options={"movflags": "+faststart"})
    data = path.read_bytes()
    whole = {pts: pixel_md5(frame) for pts, frame in SampledFrames(path, EACH)}
    frames = SampledFrames(io.BytesIO(data[: len(data) * 2 // 3]), EACH)
    got = [(pts, pixel_md5(frame)) for pts, frame in frames]
    assert len(got) > 20
    assert all(whole[pts] == md5 for pts, md5 in got)
    assert isinstance(frames.report.problem, TruncatedMedia)
    assert frames.report.problem.stage == "decode"


def test_a_cut_avi_is_not_silently_short(tmp_path: Path) -> None:
    data = make_video(tmp_path / "v.avi", codec="mjpeg", pix_fmt="yuvj420p").read_bytes()
    assert isinstance(decoded(io.BytesIO(data[: len(data) // 2])).report.problem, TruncatedMedia)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.avi"])
def test_a_whole_file_is_not_called_cut(name: str, tmp_path: Path) -> None:
    for audio_s in (0, 1, 4):
        path = make_video(tmp_path / f"{audio_s}{name}", bframes=2, audio_s=audio_s)
        assert decoded(path).report.problem is None, f"with {audio_s} s of sound"


def test_damage_in_the_middle_is_reported_and_good_frames_kept(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", bframes=2)
    index, data = index_video(path), bytearray(path.read_bytes())
    whole = [pixel_md5(frame) for _, frame in SampledFrames(path, EACH)]
    start = int(index.position[30])
    data[start + 5 : start + int(index.size_bytes[30])] = bytes(int(index.size_bytes[30]) - 5)
    frames = SampledFrames(io.BytesIO(bytes(data)), EACH)
    got = [pixel_md5(frame) for _, frame in frames]
    assert isinstance(frames.report.problem, DecodeError)
    assert frames.report.mode == "sequential"
    assert got[:20] == whole[:20]
    assert got[-10:] == whole[-10:]


@needs_ffmpeg
def test_samples_before_and_after_damage_stay_exact(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=120, gop=12)
    index, data = index_video(path), bytearray(path.read_bytes())
    start = int(index.position[62])
    data[start : start + int(index.size_bytes[62])] = random.Random(1).randbytes(int(index.size_bytes[62]))
    (tmp_path / "damaged.mp4").write_bytes(data)
    truth = dict(presented_frames(tmp_path / "damaged.mp4"))
    frames = SampledFrames(tmp_path / "damaged.mp4", EverySeconds(Fraction(1, 3)))
    got = [(pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames]
    assert len(got) == 12
    assert [pair for pair in got if not 2 <= pair[0] < Fraction(12, 5)] == [
        (time, truth[time]) for time, _ in got if not 2 <= time < Fraction(12, 5)
    ]


def test_a_count_is_spread_alike_before_and_after_a_plan_is_given_up(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=120, gop=12)
    index, data = index_video(path), bytearray(path.read_bytes())
    start = int(index.position[62])
    data[start : start + int(index.size_bytes[62])] = random.Random(1).randbytes(int(index.size_bytes[62]))
    frames = SampledFrames(io.BytesIO(bytes(data)), UniformCount(9))
    got = {pts: pixel_md5(frame) for pts, frame in frames}
    whole = {pts: pixel_md5(frame) for pts, frame in SampledFrames(path, UniformCount(9))}
    assert frames.report.mode == "sequential"
    assert list(got) == list(whole)
    assert [pts for pts in whole if got[pts] != whole[pts]] in ([], [list(whole)[5]])


def test_nothing_decodable_is_an_error(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=5)
    index, data = index_video(path), bytearray(path.read_bytes())
    first = int(index.position.min())
    data[first : first + int(index.size_bytes.sum())] = bytes(int(index.size_bytes.sum()))
    with pytest.raises(DecodeError, match="no frame can be decoded"):
        decoded(io.BytesIO(bytes(data)))


def test_one_frame_of_no_length(tmp_path: Path) -> None:
    for name in ("v.mp4", "v.mkv", "v.avi"):
        frames = decoded(make_video(tmp_path / name, frames=1))
        assert (frames.report.sampled, frames.report.problem) == (1, None)


def test_a_gigantic_frame_is_refused(tmp_path: Path) -> None:
    """A size in the header must not become gigabytes of memory."""
    path = make_video(tmp_path / "v.mkv", codec="mjpeg", frames=2, pix_fmt="yuvj420p")
    data = path.read_bytes().replace(b"\xff\xc0\x00\x11\x08\x00\x40\x00\x60", b"\xff\xc0\x00\x11\x08\xff\xf0\xff\xf0")
    assert data != path.read_bytes()
    with pytest.raises(DecodeError):
        decoded(io.BytesIO(data))


class _Away(Exception):
    """A store's own error."""


class _Failing(io.BytesIO):
    """Fails once, on the n-th read, and works again after that."""

    def __init__(self, data: bytes, fail_on: int) -> None:
        super().__init__(data)
        self.reads, self.fail_on = 0, fail_on

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        if self.reads == self.fail_on:
            raise _Away(self.reads)
        return super().read(size)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.avi"])
def test_a_store_that_fails_is_never_taken_for_the_end_of_the_file(name: str, tmp_path: Path) -> None:
    noisy = {"crf": "4"} if name != "v.avi" else {}
    path = make_video(tmp_path / name, frames=40, size=(320, 240), options=noisy)
    data = path.read_bytes()
    healthy = _Failing(data, 0)
    assert decoded(healthy, FEW).report.problem is None
    for fail_on in range(1, healthy.reads + 1):
        with pytest.raises(_Away):
            decoded(_Failing(data, fail_on), FEW)


def test_bug_a_stream_that_came_up_on_the_way_was_an_index_error(tmp_path: Path) -> None:
    """PyAV then ends a stream that it does not know. Here one packet of video is damaged into one of another stream."""
    data = bytearray(make_video(tmp_path / "v.ts", codec="mpeg2video").read_bytes())
    starts = [at for at in range(0, len(data), 188) if data[at + 1 : at + 3] == b"\x41\x00"]
    data[starts[-5] + 1] = 0x49
    report = decoded(io.BytesIO(bytes(data))).report
    assert report.sampled == 59
    assert "1 packets are incomplete" in str(report.problem)


def test_bug_a_hole_in_a_matroska_file_went_unsaid(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mkv", bframes=2)
    index, data = index_video(path), path.read_bytes()
    hole = slice(int(index.position[20]) + 30, int(index.position[40]) + 30)
    frames = decoded(io.BytesIO(data[: hole.start] + data[hole.stop :]))
    assert frames.report.sampled < 45
    assert "the container's reader met errors, first after 0." in str(frames.report.problem)


def test_bug_the_last_frames_of_a_matroska_file_were_cut_unsaid(tmp_path: Path) -> None:
    """Less than what is taken for rounding, but FFmpeg says that the file ends too early."""
    data = make_video(tmp_path / "v.mkv", bframes=2).read_bytes()
    report = decoded(io.BytesIO(data[: len(data) * 9 // 10])).report
    assert report.sampled > 46
    assert "File ended prematurely" in str(report.problem)


def test_bug_packets_that_an_mp4_lacks_went_unsaid(tmp_path: Path) -> None:
    """Less than what is taken for rounding; cut between two packets, so that none is incomplete."""
    path = make_video(tmp_path / "v.mp4", container_options={"movflags": "+faststart"})
    index, data = index_video(path), path.read_bytes()
    report = decoded(io.BytesIO(data[: int(index.position[50])])).report
    assert report.sampled == 50
    assert "10 packets are not in the file" in str(report.problem)


def test_bug_a_few_frames_that_an_avi_lacks_went_unsaid(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.avi", codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    for position in index_video(path).position[20:25].tolist():
        data[data.index(b"00dc", position - 8, position + 8)] = ord("x")
    report = decoded(io.BytesIO(bytes(data))).report
    assert report.sampled == 55
    assert "0.167 s early: 1.833 of 2.000 s declared" in str(report.problem)


def test_bug_an_avi_that_was_written_to_a_pipe_was_called_cut(tmp_path: Path) -> None:
    """Such a one counts 2³⁰ frames for ever, since its writer could not go back."""
    data = bytearray(make_video(tmp_path / "v.avi", codec="mjpeg", pix_fmt="yuvj420p").read_bytes())
    length = data.index(b"strh") + 8 + 32
    assert struct.unpack_from("<I", data, length) == (60,)
    struct.pack_into("<I", data, length, 1 << 30)
    assert decoded(io.BytesIO(bytes(data))).report.problem is None


def test_bug_frames_that_the_decoder_drops_without_a_word_went_unsaid(tmp_path: Path) -> None:
    """A HEVC slice damaged into a unit of an unknown kind is passed over, and so are those that need it."""
    path = make_video(tmp_path / "v.mp4", codec="libx265")
    index, data = index_video(path), bytearray(path.read_bytes())
    for number in (20, 21):
        data[int(index.position[number]) + 4] = 48 << 1
    report = decoded(io.BytesIO(bytes(data))).report
    assert report.sampled == 56
    assert "2 packets could not be decoded; 2 of 60 frames did not come out" in str(report.problem)
    assert (report.lost, report.concealed) == (4, 0)


def test_more_packets_than_a_file_can_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two million samples in 20 kB took 863 MB and a minute, and then there was no picture."""
    monkeypatch.setattr(packets, "_PACKETS", 1_000)
    data = claiming_samples(make_video(tmp_path / "v.mp4").read_bytes(), 2_000_000)
    with pytest.raises(NotAVideo, match=r"cam/1: claims more than [\d,]+ packets in [\d,]+ bytes"):
        index_video(io.BytesIO(data), label="cam/1")


def test_an_index_takes_less_than_100_bytes_a_packet(tmp_path: Path) -> None:
    """Long clips have a million. The samples of this one are all the same picture."""
    path = make_video(tmp_path / "v.mov", codec="mjpeg", pix_fmt="yuvj420p", frames=2, size=(16, 16))
    first = index_video(path)
    size, position = int(first.size_bytes[0]), int(first.position[0])
    many = claiming_samples(path.read_bytes(), 20_000, size, position, per_chunk=1)
    tracemalloc.start()
    index = index_video(io.BytesIO(many))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert index.frame_count == 20_000
    assert peak < 100 * 20_000


@needs_ffmpeg
@pytest.mark.parametrize("name", ["h264_b.mp4", "h264_late_start.mkv", "hevc.ts", "mpeg4_b.avi", "vp9.webm", "av1.mp4"])
def test_random_damage_never_escapes_as_another_error(name: str, videos: Path) -> None:
    data, chance = made_video(name, videos).read_bytes(), random.Random(name)
    for _ in range(25):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randrange(1, 60)] = chance.randbytes(chance.randrange(0, 60))
        with contextlib.suppress(MediaError):
            extraction = FrameExtraction(io.BytesIO(bytes(damaged)), FEW, label="cam/1")
            count = len(list(extraction))
            assert extraction.report.sampled == count > 0

"""How far damage reaches: no frame that is called good differs from an undamaged decode once FFmpeg has told of it."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import pytest

from video_assets.video.container import complaints
from video_assets.video.decode import DecodeReport, SampledFrames
from video_assets.video.errors import ConcealedErrors, MediaError
from video_assets.video.index import VideoIndex, index_video
from video_assets.video.sampling import EverySeconds
from video_assets_tests.video.ffmpeg_oracle import pixel_md5
from video_assets_tests.video.made_videos import TO_DAMAGE, made_video
from video_assets_tests.video.make_video import make_video

EACH = EverySeconds(Fraction(1, 1_000_000))
FEW = EverySeconds(Fraction(1, 5))
TIMED = [name for name in TO_DAMAGE if name.endswith((".mp4", ".mov", ".mkv", ".webm"))]
"""Those whose containers say the time of each packet, so that frames can be told apart by it."""


@dataclass(frozen=True)
class Shown:
    """A frame that was handed out."""

    md5: str
    damaged: bool


def decoded(data: bytes, policy: EverySeconds = EACH) -> tuple[dict[int, Shown], DecodeReport]:
    frames = SampledFrames(io.BytesIO(data), policy, label="cam/1")
    shown = {pts: Shown(pixel_md5(frame), frames.damaged) for pts, frame in frames}
    return shown, frames.report


def places(data: bytes, index: VideoIndex) -> list[tuple[int, int]]:
    """Where each packet's bytes begin, without what the container puts before them, and how many they are."""
    with av.open(io.BytesIO(data)) as container:
        packets = [bytes(one) for one in container.demux(container.streams.video[0]) if one.size]
    starts = index.position.tolist()
    return [(data.index(one, at), len(one)) for one, at in zip(packets, starts, strict=True)]


def hit(data: bytes, at: int, size: int, chance: random.Random) -> bytes:
    """The file with bits of a packet flipped, or with the packet's end blank."""
    damaged = bytearray(data)
    if chance.random() < 0.5:
        for _ in range(chance.choice((1, 2, 20))):
            damaged[at + chance.randrange(size)] ^= 1 << chance.randrange(8)
    else:
        kept = chance.randrange(size // 2 + 1)
        damaged[at + kept : at + size] = bytes(size - kept)
    return bytes(damaged)


def first_told(data: bytes) -> int:
    """The first packet that FFmpeg's decoder refuses, complains of or marks; one after the last if there is none."""
    told: list[int] = []
    number = -1
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        number_of: dict[int | None, int] = {}
        for number, packet in enumerate(one for one in container.demux(stream) if one.size or one.dts is None):
            number_of[packet.pts] = number
            before = complaints()
            with suppress(av.FFmpegError):
                told += [number_of[frame.pts] for frame in packet.decode() if frame.is_corrupt]
                before -= complaints()
                told += [number] * (before != 0)
                continue
            told.append(number)
    late = stream.codec_context.codec.canonical_name == "av1"  # dav1d tells of a packet when it gets the next one.
    return min(told, default=number + 1) - late


def reached(index: VideoIndex, number: int) -> set[int]:
    """Times of the frames that damage in a packet can reach, by where decoding starts anew.

    The frame before may be marked too: a complaint of a container, or dav1d's, can be of either of two packets.
    """
    entries = [int(entry) for entry in index.entry.nonzero()[0] if entry > number]
    end = entries[0] if entries else len(index.pts)
    leading = [n for n in range(end, len(index.pts)) if index.pts[n] < index.pts[end]]
    return {int(index.pts[n]) for n in [*range(max(number - 1, 0), end), *leading]}


def damaged_copies(name: str, data: bytes, index: VideoIndex, count: int) -> Iterator[tuple[int, bytes]]:
    chance, packets = random.Random(name), places(data, index)
    for _ in range(count):
        number = chance.randrange(len(packets))
        yield number, hit(data, *packets[number], chance)


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TIMED)
def test_no_frame_called_good_differs_once_ffmpeg_has_told_of_damage(name: str, count: int, videos: Path) -> None:
    """Before its first word nobody can know: its VP9 and HEVC decoders take most damage for pictures."""
    path = made_video(name, videos)
    data, index = path.read_bytes(), index_video(path)
    whole, _ = decoded(data)
    number_of = {int(pts): n for n, pts in enumerate(index.pts)}
    ends: Counter[str] = Counter()
    for number, damaged in damaged_copies(name, data, index, count):
        try:
            got, report = decoded(damaged)
        except MediaError:
            ends["failed"] += 1
            continue
        wrong = {pts for pts, shown in got.items() if not shown.damaged and shown.md5 != whole[pts].md5}
        told = first_told(damaged)
        assert all(number_of[pts] < told for pts in wrong)
        assert wrong <= reached(index, number)
        marked = {pts for pts, shown in got.items() if shown.damaged}
        assert marked <= reached(index, number), "what no damage can reach stays good"
        if marked or len(got) < len(whole):
            assert report.problem is not None
        few, _ = decoded(damaged, FEW)
        wrong_few = {pts for pts, shown in few.items() if not shown.damaged and shown.md5 != whole[pts].md5}
        # A plan may end before the packet at which dav1d would tell of the one before.
        assert all(pts in wrong or (index.codec == "av1" and number_of[pts] == told) for pts in wrong_few)
        ends["wrong, untold" if wrong else "marked" if marked else "same"] += 1
    assert ends["failed"] < count // 4
    assert ends["marked"] > 0 or name.endswith(".webm")


def damaged_at(folder: Path, number: int, **making: object) -> tuple[VideoIndex, dict[int, str], bytes]:
    """A video's index and frames, and the video with the second half of a packet blank."""
    path = make_video(folder / "v.mp4", frames=60, gop=20, size=(320, 192), **making)  # type: ignore[arg-type]
    index, data = index_video(path), bytearray(path.read_bytes())
    start, size = int(index.position[number]), int(index.size_bytes[number])
    data[start + size // 2 : start + size] = bytes(size - size // 2)
    return index, {pts: shown.md5 for pts, shown in decoded(path.read_bytes())[0].items()}, bytes(data)


def test_bug_frames_after_a_damaged_one_were_called_good(tmp_path: Path) -> None:
    """FFmpeg marks the frame that is hit, and none of those that are predicted from it."""
    index, whole, data = damaged_at(tmp_path, 26)
    got, report = decoded(data)
    assert [n for n, pts in enumerate(got) if got[pts].damaged] == list(range(26, 40))
    assert any(got[pts].md5 != whole[pts] for pts in list(got)[30:40])
    assert all(got[pts].md5 == whole[pts] for pts in got if not got[pts].damaged)
    assert (report.lost, report.concealed) == (0, 1)
    assert isinstance(report.problem, ConcealedErrors)
    assert index.entry.nonzero()[0].tolist() == [0, 20, 40]


@pytest.mark.parametrize("policy", [EACH, FEW], ids=["each", "few"])
def test_frames_that_come_out_before_the_damaged_one_but_refer_to_it_are_reached(
    policy: EverySeconds, tmp_path: Path
) -> None:
    """B-frames are presented before the frame they are predicted from, and decoded after it."""
    index, whole, data = damaged_at(tmp_path, 25, bframes=3)
    assert index.pts[26] < index.pts[25], "packet 25 is one that B-frames refer to"
    got, _ = decoded(data, policy)
    marked = {pts for pts, shown in got.items() if shown.damaged}
    assert marked == {int(pts) for pts in index.pts[25:40]} & got.keys()
    assert all(got[pts].md5 == whole[pts] for pts in got.keys() - marked)


def test_damage_ends_at_the_next_key_frame_of_mpeg_2(tmp_path: Path) -> None:
    index, _, data = damaged_at(tmp_path, 26, codec="mpeg2video")
    got, _ = decoded(data)
    assert index.keyframe.nonzero()[0].tolist() == [0, 20, 40]
    assert [n for n, pts in enumerate(got) if got[pts].damaged] == list(range(26, 40))


def test_a_message_of_a_wrong_length_is_no_damage(tmp_path: Path) -> None:
    """Some cameras write them. FFmpeg complains of each, and every picture is whole."""
    path = make_video(tmp_path / "v.h264", format="h264", frames=20, gop=20)
    whole, _ = decoded(path.read_bytes())
    start = path.read_bytes().index(b"\0\0\1\x41")
    message = b"\0\0\1\x06\x04\x7f\x01\x80"
    data = path.read_bytes()[:start] + message + path.read_bytes()[start:]
    before = complaints()
    got, report = decoded(data)
    assert complaints() > before
    assert [shown.md5 for shown in got.values()] == [shown.md5 for shown in whole.values()]
    assert not any(shown.damaged for shown in got.values())
    assert report.problem is None

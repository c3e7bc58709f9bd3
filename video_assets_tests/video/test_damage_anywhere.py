"""Cut anywhere, bits flipped anywhere: what comes out is exact, and what is missing is said."""

from __future__ import annotations

import io
import random
from fractions import Fraction
from pathlib import Path

import av
import pytest

from video_assets.video.decode import DecodeReport, SampledFrames
from video_assets.video.errors import MediaError
from video_assets.video.sampling import EverySeconds
from video_assets_tests.video.ffmpeg_oracle import pixel_md5
from video_assets_tests.video.made_videos import TO_DAMAGE, made_video

EACH = EverySeconds(Fraction(1, 1_000_000))
TIMED = [name for name in TO_DAMAGE if name.endswith((".mp4", ".mov", ".mkv", ".webm"))]
"""Those whose containers say the time of each packet."""


def decoded(data: bytes) -> tuple[dict[int, str], DecodeReport]:
    """The MD5 of each frame's pixels by its time."""
    frames = SampledFrames(io.BytesIO(data), EACH, label="cam/1")
    found = [(pts, pixel_md5(frame)) for pts, frame in frames]
    times = [pts for pts, _ in found]
    assert times == sorted(set(times)), "in order, and none twice"
    return dict(found), frames.report


def decoded_if_any(data: bytes) -> tuple[dict[int, str], DecodeReport] | None:
    try:
        return decoded(data)
    except MediaError as error:
        message = str(error)
    assert message.startswith("cam/1: ")
    return None


def decoded_cuts(data: bytes) -> list[tuple[dict[int, str], DecodeReport]]:
    """What is decoded of a file cut at 39 places, where anything is."""
    found = [decoded_if_any(data[: len(data) * n // 40]) for n in range(1, 40)]
    some = [one for one in found if one is not None]
    assert len(some) > 10
    return some


@pytest.mark.parametrize("name", TIMED)
def test_a_file_cut_anywhere_gives_frames_of_the_whole_one_and_says_that_some_are_missing(
    name: str, videos: Path
) -> None:
    data = made_video(name, videos).read_bytes()
    whole, _ = decoded(data)
    for got, report in decoded_cuts(data):
        assert got.items() <= whole.items()
        # Fragments declare no duration of the whole, so that one which ends between two of them looks whole.
        if len(got) < len(whole) and "fragments" not in name:
            assert report.problem is not None


@pytest.mark.parametrize("name", sorted(set(TO_DAMAGE) - set(TIMED)))
def test_without_a_time_for_each_packet_at_most_the_last_two_frames_of_a_cut_file_differ(
    name: str, videos: Path
) -> None:
    data = made_video(name, videos).read_bytes()
    whole, _ = decoded(data)
    for got, _ in decoded_cuts(data):
        assert set(list(got.items())[:-2]) <= whole.items()


@pytest.mark.parametrize("name", TIMED)
def test_bits_flipped_in_a_packet_change_no_time_and_no_frame_before_it_and_no_frame_goes_unsaid(
    name: str, videos: Path
) -> None:
    data, chance = made_video(name, videos).read_bytes(), random.Random(name)
    whole, _ = decoded(data)
    with av.open(io.BytesIO(data)) as container:
        packets = [(p.pts, bytes(p)) for p in container.demux(container.streams.video[0]) if p.size]
    for _ in range(20):
        flip = chance.choice(packets)[1]
        number = [packet for _, packet in packets].index(flip)
        start, length = data.index(flip), len(flip)
        flipped = bytearray(data)
        for _ in range(chance.choice((1, 2, 20))):
            flipped[start + chance.randrange(length)] ^= 1 << chance.randrange(8)
        if (found := decoded_if_any(bytes(flipped))) is None:
            continue
        got, report = found
        assert got.keys() <= whole.keys()
        assert all(got[pts] == whole[pts] for pts, _ in packets[:number] if pts in got)
        if len(got) < len(whole):
            assert report.problem is not None

"""Bags become clips whose frames and times are those that were written; a damaged one says so."""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from video_assets.video.bag_clips import BagClips
from video_assets.video.errors import DecodeError, MediaError, NotAVideo, NoVideoStream
from video_assets_tests.video.bags import START_NS, Message, picture, picture_file, write_bag

FRONT, REAR, LEFT = "/front/image_raw/compressed", "/rear/image/compressed", "/left/image_raw"
STEPS_NS = (33_333_333, 34_333_444, 31_000_555)
"""Between frames: a variable rate, with nanoseconds."""


def stamps(count: int) -> list[int]:
    return [START_NS + sum(STEPS_NS[i % 3] for i in range(number)) for number in range(count)]


def three_topics(count: int) -> list[Message]:
    messages = []
    for number, stamp in enumerate(stamps(count)):
        messages.append(Message(FRONT, stamp, "jpeg", picture_file(number, "jpeg"), stamp + 5_000))
        messages.append(Message(REAR, stamp, "png", picture_file(number, "png"), stamp + 6_000))
        messages.append(Message(LEFT, stamp, "rgb8", picture(number), stamp + 7_000))
        messages.append(Message("/chatter", stamp, "text", b"", stamp + 8_000))
    return messages


def clips_of(path: Path, folder: Path) -> tuple[dict[str, tuple[int, Path]], dict[str, MediaError]]:
    """Start stamp and file of each topic's clip, and what was wrong."""
    clips = BagClips(path)
    made = {}
    for clip in clips:
        file = folder / f"{clip.number}.mp4"
        file.write_bytes(clip.file.read())
        made[clip.topic] = clip.start_ns, file
    return made, clips.problems


def packets(file: Path) -> list[tuple[int, bytes]]:
    """Microseconds and bytes of each packet, in order of time."""
    with av.open(file) as container:
        stream = container.streams.video[0]
        found = [(p.pts, p.time_base, bytes(p)) for p in container.demux(stream) if p.size]
    return sorted((int(pts * base * 10**6), data) for pts, base, data in found)


@pytest.mark.parametrize("compression", ["none", "bz2", "lz4"])
def test_files_of_images_are_copied_bit_by_bit_at_their_own_stamps(tmp_path: Path, compression: str) -> None:
    path = write_bag(tmp_path / "a.bag", three_topics(12), compression, chunk_bytes=20_000)
    made, problems = clips_of(path, tmp_path)
    assert not problems
    assert set(made) == {FRONT, REAR, LEFT}
    for topic, kind in ((FRONT, "jpeg"), (REAR, "png")):
        start_ns, file = made[topic]
        times, data = zip(*packets(file), strict=True)
        assert data == tuple(picture_file(number, kind) for number in range(12))
        assert all(abs(start_ns + time * 1000 - stamp) <= 1000 for time, stamp in zip(times, stamps(12), strict=True))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8"])
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_raw_images_are_encoded_once_and_look_the_same(tmp_path: Path, encoding: str, size: tuple[int, int]) -> None:
    channels = 1 if encoding == "mono8" else 3
    pictures = [picture(number, *size, channels) for number in range(6)]
    messages = [Message(LEFT, stamp, encoding, p) for stamp, p in zip(stamps(6), pictures, strict=True)]
    made, problems = clips_of(write_bag(tmp_path / "a.bag", messages), tmp_path)
    assert not problems
    start_ns, file = made[LEFT]
    with av.open(file) as container:
        frames = list(container.decode(video=0))
    shown = [frame.to_ndarray(format={"mono8": "gray"}.get(encoding, encoding.replace("8", "24"))) for frame in frames]
    for got, wanted, frame, stamp in zip(shown, pictures, frames, stamps(6), strict=True):
        assert np.abs(got.astype(int) - wanted.astype(int)).mean() < 6
        assert abs(start_ns / 1000 + float(frame.pts * frame.time_base) * 1e6 - stamp / 1000) <= 1


def test_raw_images_have_the_quality_that_is_asked_for(tmp_path: Path) -> None:
    pictures = [np.random.default_rng(n).integers(0, 256, (48, 64, 3), dtype=np.uint8) for n in range(6)]
    messages = [Message(LEFT, stamp, "rgb8", p) for stamp, p in zip(stamps(6), pictures, strict=True)]
    path = write_bag(tmp_path / "a.bag", messages)
    sizes, errors = [], []
    for crf in (1, 16, 45):
        (clip,) = [(clip.index.codec, clip.file.read()) for clip in BagClips(path, crf=crf)]
        assert clip[0] == "h264"
        with av.open(io.BytesIO(clip[1])) as container:
            shown = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]
        wanted = [av.VideoFrame.from_ndarray(p, format="rgb24").to_ndarray(format="gray") for p in pictures]
        sizes.append(len(clip[1]))
        errors.append(np.mean([np.abs(got - want).mean() for got, want in zip(shown, wanted, strict=True)]))
    assert sizes[0] > sizes[1] > sizes[2]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_ffprobe_reads_every_clip(tmp_path: Path) -> None:
    made, _ = clips_of(write_bag(tmp_path / "a.bag", three_topics(9)), tmp_path)
    for topic, codec in ((FRONT, "mjpeg"), (REAR, "png"), (LEFT, "h264")):
        show = ["-count_frames", "-show_entries", "stream=codec_name,width,height,nb_read_frames", "-of", "json"]
        said = subprocess.run(["ffprobe", "-v", "error", *show, str(made[topic][1])], capture_output=True, check=True)
        assert not said.stderr
        stream = json.loads(said.stdout)["streams"][0]
        assert stream == {"codec_name": codec, "width": 64, "height": 48, "nb_read_frames": "9"}


def test_stamps_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    late = stamps(9)
    late[3], late[6] = late[6], late[3]
    messages = [
        Message(FRONT, stamp, "jpeg", picture_file(number, "jpeg"), START_NS + number // 2)
        for number, stamp in enumerate(late)
    ]
    made, problems = clips_of(write_bag(tmp_path / "a.bag", messages), tmp_path)
    assert not problems
    order = [0, 1, 2, 6, 4, 5, 3, 7, 8]
    assert [data for _, data in packets(made[FRONT][1])] == [picture_file(number, "jpeg") for number in order]


def test_an_image_without_a_stamp_has_the_time_it_was_recorded(tmp_path: Path) -> None:
    messages = [Message(FRONT, 0, "jpeg", picture_file(n, "jpeg"), stamp) for n, stamp in enumerate(stamps(4))]
    made, problems = clips_of(write_bag(tmp_path / "a.bag", messages), tmp_path)
    assert not problems
    assert made[FRONT][0] == START_NS
    assert [time for time, _ in packets(made[FRONT][1])] == [round((s - START_NS) / 1000) for s in stamps(4)]


def test_what_cannot_be_in_the_clip_is_counted_and_named(tmp_path: Path) -> None:
    stamp = stamps(5)
    messages = [
        Message(FRONT, stamp[0], "jpeg", picture_file(0, "jpeg")),
        Message(FRONT, stamp[0], "jpeg", picture_file(1, "jpeg")),
        Message(FRONT, stamp[2], "16UC1; compressedDepth", b"\0" * 30),
        Message(FRONT, stamp[3], "jpeg", picture_file(3, "jpeg")),
        Message(LEFT, stamp[0], "16UC1", picture(0)),
        Message(REAR, stamp[0], "jpeg", picture_file(0, "jpeg")),
        Message(REAR, stamp[1], "jpeg", picture_file(1, "jpeg", width=96)),
        Message(REAR, stamp[2], "jpeg", picture_file(2, "jpeg")),
    ]
    made, problems = clips_of(write_bag(tmp_path / "a.bag", messages), tmp_path)
    assert [data for _, data in packets(made[FRONT][1])] == [picture_file(0, "jpeg"), picture_file(3, "jpeg")]
    assert "2 of 4 images are left out; the first has the stamp of the one before" in str(problems[FRONT])
    assert LEFT not in made
    assert "has the encoding '16UC1', which is none of rgb8, bgr8, mono8" in str(problems[LEFT])
    assert len(packets(made[REAR][1])) == 1
    assert "image 2 does not go into the clip: it is JPEG 96x48" in str(problems[REAR])


@pytest.mark.parametrize("at", [0, 4], ids=["first", "second"])
def test_a_jpeg_that_is_none_is_left_out_alone(tmp_path: Path, at: int) -> None:
    messages = three_topics(3)
    stamp = START_NS + 1_000_000 * (1 if at else -1)
    messages.insert(at, Message(FRONT, stamp, "jpeg", b"\xff\xd8\xff" + b"\0" * 40))
    made, problems = clips_of(write_bag(tmp_path / "a.bag", messages), tmp_path)
    assert set(problems) == {FRONT}
    assert "1 of 4 images are left out; the first is no JPEG" in str(problems[FRONT])
    assert made[FRONT][0] == START_NS
    assert [len(packets(made[topic][1])) for topic in (FRONT, REAR, LEFT)] == [3, 3, 3]


def unindexed(path: Path) -> None:
    """As a recorder leaves it that was killed."""
    data = bytearray(path.read_bytes())
    at = data.index(b"index_pos=") + len(b"index_pos=")
    data[at : at + 8] = struct.pack("<Q", 0)
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("messages", "harm", "kind", "words"),
    [
        (three_topics(3), unindexed, NotAVideo, "has no index: its recorder was stopped"),
        (three_topics(3), cut, NotAVideo, "is a bag that was cut off or damaged"),
        ([], None, NoVideoStream, "is an empty bag"),
        ([Message("/a", 1, "text", b""), Message("/b", 1, "text", b"")], None, NoVideoStream, "its topics are /a, /b"),
    ],
    ids=["unindexed", "cut", "empty", "no-images"],
)
def test_a_bag_without_clips_says_why(tmp_path: Path, messages: Any, harm: Any, kind: Any, words: str) -> None:
    path = write_bag(tmp_path / "a.bag", messages)
    if harm:
        harm(path)
    with pytest.raises(kind, match=words):
        list(BagClips(path))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"SQLite format 3\0", "is no ROS 1 bag"),
        (b"\x89MCAP0\r\n", "is no ROS 1 bag"),
        (b"#ROSBAG V1.2\n" + b"\0" * 99, "of another version"),
        (b"#ROSBAG V2.0\n", "cut off or damaged"),
    ],
)
def test_what_is_no_bag_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(NotAVideo, match=words):
        list(BagClips(io.BytesIO(data), label="a.bag"))


def test_damage_within_leaves_the_images_before_it(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "a.bag", three_topics(12), "lz4", chunk_bytes=4_000)
    data = bytearray(path.read_bytes())
    middle = data.index(b"compression=lz4", len(data) // 2)
    data[middle + 60 : middle + 400] = bytes(340)
    path.write_bytes(data)
    made, problems = clips_of(path, tmp_path)
    assert problems
    assert all(isinstance(problem, DecodeError) for problem in problems.values())
    assert 0 < len(packets(made[FRONT][1])) < 12


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(n, marks=pytest.mark.slow) for n in range(12, 400))])
def test_any_damage_ends_in_words(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    path = write_bag(tmp_path / "a.bag", three_topics(4), dice.choice(["none", "bz2", "lz4"]), chunk_bytes=6_000)
    data = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 12)):
        data[dice.randrange(13, len(data))] = dice.randrange(256)
    if dice.random() < 0.3:
        del data[dice.randrange(13, len(data)) :]
    clips = BagClips(io.BytesIO(bytes(data)), label="a.bag")
    try:
        for clip in clips:
            assert clip.file.read(8)[4:] == b"ftyp"
    except MediaError as error:
        clips.problems["the bag"] = error
    assert all(str(problem).startswith("a.bag: ") for problem in clips.problems.values())

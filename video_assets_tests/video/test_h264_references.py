"""What is left out of H.264 by its slice headers: nothing that shows in any sample."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.video import decode, plan
from video_assets.video.container import demux, media_file, open_video
from video_assets.video.decode import SampledFrames
from video_assets.video.h264_bits import BitReader, BitWriter
from video_assets.video.h264_headers import H264Headers, NotFollowed
from video_assets.video.h264_references import stand_ins
from video_assets.video.index import index_video
from video_assets.video.plan import plan_times
from video_assets.video.sampling import EverySeconds
from video_assets_tests.video.ffmpeg_oracle import needs_ffmpeg, pixel_md5, presented_frames
from video_assets_tests.video.make_video import make_video

GOP, FRAMES = 24, 48
EVERY_SECOND = EverySeconds(Fraction(1))
FOLLOWED = {
    "veryfast": "ref=1:weightp=1",
    "strict": "ref=1:b-pyramid=strict",
    "several_references": "ref=4:b-pyramid=normal:weightp=2",
    "weights": "ref=2:weightb=1:weightp=2",
    "temporal_direct": "ref=1:direct=temporal",
    "slices": "ref=1:slices=3",
    "all_b": "ref=1:bframes=8:b-adapt=0",
    "no_b_references": "ref=2:b-pyramid=none",
}
SAVES = ["veryfast", "strict", "temporal_direct", "slices", "all_b"]
"""In which a B-frame that others refer to is not needed for every sample; with more references x264 lists them all."""


def made(folder: Path, params: str, **options: object) -> Path:
    fixed = f"threads=1:keyint={GOP}:min-keyint={GOP}:scenecut=0:bframes=3:b-adapt=0:"
    x264 = {"preset": "veryfast", "x264-params": fixed + params}
    return make_video(folder / "v.mp4", frames=FRAMES, gop=GOP, bframes=3, options=x264, **options)  # type: ignore[arg-type]


def first_group(path: Path) -> tuple[H264Headers, list[av.Packet]]:
    with open_video(media_file(path, "v"), "v") as (container, stream):
        packets = [packet for packet in demux(container, stream) if packet.size][:GOP]
        return H264Headers(stream.codec_context.extradata or b""), packets


def wanted_alone(path: Path, number: int) -> list[bytes | None]:
    """The stand-ins of the first group up to one packet, the only one wanted."""
    headers, packets = first_group(path)
    bodies = [memoryview(packet) for packet in packets[: number + 1]]
    return stand_ins(headers, bodies, [place == number for place in range(number + 1)])


@needs_ffmpeg
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
@pytest.mark.parametrize("name", FOLLOWED)
def test_each_frame_alone_is_that_of_a_full_decode(
    name: str, pix_fmt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path, FOLLOWED[name], pix_fmt=pix_fmt)
    index, whole = index_video(path), dict(presented_frames(path))
    for pts in index.pts.tolist():
        monkeypatch.setattr(decode, "plan_decode", lambda index, _, pts=pts: plan_times(index, [pts]))
        frames = SampledFrames(path, EVERY_SECOND, index=index)
        assert [(at, pixel_md5(frame)) for at, frame in frames] == [(pts, whole[pts * index.time_base])]
        assert frames.report.mode == "planned"


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_no_sample_refers_to_has_a_stand_in(name: str, tmp_path: Path) -> None:
    path = made(tmp_path, FOLLOWED[name])
    assert any(any(wanted_alone(path, number)) for number in range(GOP)) == (name in SAVES)


def test_a_stand_in_for_a_frame_that_is_needed_shows(tmp_path: Path) -> None:
    """Else the tests above could not fail."""
    path = made(tmp_path, FOLLOWED["veryfast"])
    headers, packets = first_group(path)
    last = max(range(GOP), key=lambda number: packets[number].pts or 0)
    replaced = wanted_alone(path, last)
    needed = [at for at in range(1, last) if replaced[at] is None and headers.reference(memoryview(packets[at]))]
    exact = _decoded(path, dict(enumerate(replaced)))
    assert exact == _decoded(path, {})
    for at in needed:
        slices = headers.slices(memoryview(packets[at]))
        assert _decoded(path, {at: headers.stand_in(memoryview(packets[at]), slices[0])}) != exact


def _decoded(path: Path, replaced: dict[int, bytes | None]) -> str:
    """The last frame of the first group."""
    with open_video(media_file(path, "v"), "v") as (container, stream):
        context, found = stream.codec_context, {}
        packets = [packet for packet in demux(container, stream) if packet.size][:GOP]
        for number, packet in enumerate(packets):
            data = replaced.get(number)
            given = packet if data is None else av.Packet(data)
            given.pts, given.time_base = packet.pts, packet.time_base
            found.update({frame.pts: pixel_md5(frame) for frame in context.decode(given)})
        found.update({frame.pts: pixel_md5(frame) for frame in context.decode(None)})
        return found[max(found)]


@pytest.mark.parametrize("params", ["cabac=0", "interlaced=1", "fake-interlaced=1"])
def test_other_streams_are_not_followed(params: str, tmp_path: Path) -> None:
    with pytest.raises(NotFollowed):
        first_group(made(tmp_path, params))


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[bytes]]:
    path = made(tmp_path_factory.mktemp("group"), FOLLOWED["veryfast"])
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
    return extradata, [bytes(packet) for packet in first_group(path)[1]]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_headers_end_in_nothing_worse_than_a_full_decode(
    group: tuple[bytes, list[bytes]], data: st.DataObject
) -> None:
    set_up, packets = bytearray(group[0]), [bytearray(packet) for packet in group[1]]
    for _ in range(data.draw(st.integers(1, 3))):
        hit = data.draw(st.sampled_from([set_up, *packets]))
        hit[data.draw(st.integers(0, min(len(hit), 40) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packets[-1])))
    packets[-1] = packets[-1][:cut]
    try:
        headers = H264Headers(bytes(set_up))
    except NotFollowed:
        return
    targets = [number == len(packets) - 1 for number in range(len(packets))]
    assert len(stand_ins(headers, [memoryview(packet) for packet in packets], targets)) == len(packets)


@pytest.mark.parametrize("seed", range(12))
def test_frames_of_a_damaged_file_are_the_same_with_stand_ins(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets are hit one after the other where their slice's header begins."""
    path = made(tmp_path, FOLLOWED["veryfast"])
    index = index_video(path)
    data, packet = bytearray(path.read_bytes()), 1 + seed * 2
    at = int(index.position[packet]) + 5 + seed % 4
    data[at] ^= 1 << (seed % 8)
    path.write_bytes(data)
    with_stand_ins = _samples(path)
    monkeypatch.setattr(plan, "_has_b_frames_between", lambda *_: False)
    assert _samples(path) == with_stand_ins != []


def _samples(path: Path) -> list[tuple[int, str]]:
    return [(pts, pixel_md5(frame)) for pts, frame in SampledFrames(path, EVERY_SECOND)]


@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(17, 20)), max_size=40))
def test_what_is_written_is_read(numbers: list[tuple[int, int]]) -> None:
    out = BitWriter()
    for number, bits in numbers:
        out.numbers(number)
        out.put(number, bits)
    unit = out.unit()
    assert not any(unit[at : at + 2] == b"\0\0" and unit[at + 2] < 3 for at in range(len(unit) - 2))
    reader = BitReader(unit.replace(b"\0\0\3", b"\0\0"))
    assert [(reader.number(), reader.take(bits)) for _, bits in numbers] == [(number, number) for number, _ in numbers]

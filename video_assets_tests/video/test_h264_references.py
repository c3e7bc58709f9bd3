"""What is left out of H.264 by its slice headers: nothing that shows in any sample."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.video import decode, decoder, plan
from video_assets.video.container import demux, media_file, open_video
from video_assets.video.decode import SampledFrames
from video_assets.video.h264_bits import BitReader, BitWriter, NotEnoughBits
from video_assets.video.h264_headers import H264Headers, NotFollowed, Slice
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


@pytest.mark.parametrize("lossless", [False, True])
def test_what_an_old_x264_made_is_decoded_from_its_first_packet_on(lossless: bool, tmp_path: Path) -> None:
    """Its mistakes in 4:4:4 and in lossless frames FFmpeg allows for, if it has seen by which build they are."""
    path = made(tmp_path, "qp=0" if lossless else "ref=1", pix_fmt="yuv420p" if lossless else "yuv444p")
    assert not index_video(path).doubt
    data = path.read_bytes()
    assert data.count(b"x264 - core 1") == 1
    at = data.index(b"x264 - core 1") + len(b"x264 - core ")
    path.write_bytes(data[:at] + b"148" + data[at + 3 :])
    assert "x264" in index_video(path).doubt


def test_a_packet_of_two_pictures_gives_what_a_full_decode_gives(tmp_path: Path) -> None:
    """The first alone, also where no other refers to that and the second is what the sample refers to."""
    path, joined = made(tmp_path, FOLLOWED["no_b_references"]), tmp_path / "joined.mp4"
    with av.open(str(path)) as source, av.open(str(joined), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        bodies = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
        kinds = [units_of(bytes(packet))[-1][0] & 0x60 for packet in bodies]
        at = next(at for at in range(GOP + 2, len(bodies)) if not kinds[at] and kinds[at + 1])
        for number, packet in enumerate(bodies):
            if number != at + 1:
                both = bytes(packet) + (bytes(bodies[at + 1]) if number == at else b"")
                made_of = av.Packet(both)
                made_of.pts, made_of.dts, made_of.time_base = packet.pts, packet.dts, packet.time_base
                made_of.duration, made_of.is_keyframe, made_of.stream = packet.duration, packet.is_keyframe, stream
                target.mux(made_of)
    often = EverySeconds(Fraction(1, 2))
    planned = [(pts, pixel_md5(frame)) for pts, frame in SampledFrames(joined, often)]
    assert planned == [(pts, pixel_md5(frame)) for pts, frame in SampledFrames(joined, often, planned=False)]


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[bytes]]:
    path = made(tmp_path_factory.mktemp("group"), FOLLOWED["veryfast"])
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
    return extradata, [bytes(packet) for packet in first_group(path)[1]]


def stand_ins_of(set_up: bytes, packets: list[bytes]) -> list[bytes | None]:
    """With only the last packet wanted."""
    bodies = [memoryview(packet) for packet in packets]
    return stand_ins(H264Headers(set_up), bodies, [packet is packets[-1] for packet in packets])


def units_of(packet: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(packet):
        end = at + 4 + int.from_bytes(packet[at : at + 4], "big")
        found.append(packet[at + 4 : end])
        at = end
    return found


def prefixed(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def picture_set(number: int, references: int) -> bytes:
    """One with CABAC, as `H264Headers` follows it."""
    out = BitWriter()
    out.numbers(number, 0)
    out.put(0b10, 2)
    out.numbers(0, references - 1, references - 1)
    out.put(0b000, 3)
    out.numbers(0, 0, 0)
    out.put(0b100, 3)
    return b"\x68" + out.unit()


def set_up_of(sequence: bytes, *pictures: bytes) -> bytes:
    told = [len(unit).to_bytes(2, "big") + unit for unit in (sequence, *pictures)]
    return b"\1\x64\0\x0a\xff\xe1" + told[0] + bytes([len(pictures)]) + b"".join(told[1:])


def test_the_sets_are_as_before_after_a_stand_in(group: tuple[bytes, list[bytes]]) -> None:
    """One with a number of its own would stay: a slice that names it is an error in a full decode, and none here."""
    set_up, packets = group
    ends = [units_of(packet)[-1] for packet in stand_ins_of(set_up, packets) if packet is not None]
    assert ends
    assert all(unit[0] & 31 == 8 and unit in set_up for unit in ends)


def test_a_set_that_comes_with_a_skipped_frame_counts(group: tuple[bytes, list[bytes]]) -> None:
    set_up, packets = group
    skipped = next(at for at, packet in enumerate(packets) if not units_of(packet)[-1][0] & 0x60)
    packets = [*packets]
    packets[skipped] = prefixed(picture_set(0, 3), *units_of(packets[skipped]))
    assert not any(stand_ins_of(set_up, packets))


def test_units_behind_a_start_code_within_a_unit_are_not_overlooked(tmp_path: Path) -> None:
    """FFmpeg decodes them."""
    headers, packets = first_group(made(tmp_path, FOLLOWED["slices"]))
    whole = memoryview(bytes(packets[1]))
    assert len(headers.slices(whole)) == 3
    with pytest.raises(NotFollowed):
        headers.slices(memoryview(prefixed(b"\0\0\1".join(units_of(bytes(whole))))))


def test_a_set_up_that_ffmpeg_reads_otherwise_is_not_followed(group: tuple[bytes, list[bytes]]) -> None:
    size = int.from_bytes(group[0][6:8], "big")
    sequence, first, second = group[0][8 : 8 + size], picture_set(0, 1), picture_set(0, 2)
    H264Headers(set_up_of(sequence, first))
    # Two of one number, either of which may come again; and one that is supplemental information.
    for pictures in ((), (first, second), (first, b"\6" + picture_set(1, 1)[1:])):
        with pytest.raises(NotFollowed):
            H264Headers(set_up_of(sequence, *pictures))


def test_two_references_of_one_place_in_the_order_are_not_followed(
    group: tuple[bytes, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg takes up one of them only."""
    assert any(stand_ins_of(*group))
    read = H264Headers.slices
    monkeypatch.setattr(
        H264Headers, "slices", lambda *args: [part._replace(order_lsb=part.order_lsb & ~15) for part in read(*args)]
    )
    assert not any(stand_ins_of(*group))


def test_what_a_packet_changes_in_the_sets_holds_for_later_stretches(
    group: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    """Also where that packet is in none that is looked at as a whole."""
    path = made(tmp_path, FOLLOWED["veryfast"])
    index = index_video(path)
    with open_video(media_file(path, "v"), "v") as (container, stream):
        packets = list(enumerate(packet for packet in demux(container, stream) if packet.size))
        last = [number for number, _ in packets if number >= GOP and index.presented[-1] == number]
        plan_of_two = plan_times(index, [int(index.pts[0]), int(index.pts[last[0]])])
        assert plan_of_two is not None
        assert plan_of_two.together == {GOP}
        replaced = dict(decoder._needed(iter(packets), plan_of_two, stream.codec_context))
        assert any(replaced[number] is not packet for number, packet in packets if number in replaced)
        first = av.Packet(prefixed(picture_set(1, 3)) + bytes(packets[0][1]))
        packets[0] = (0, first)
        replaced = dict(decoder._needed(iter(packets), plan_of_two, stream.codec_context))
        assert all(replaced[number] is packet for number, packet in packets if number in replaced)


def test_a_picture_of_countless_slices_is_not_read_to_its_end(
    group: tuple[bytes, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bytes each, in a packet of 32 MiB they would take a gigabyte."""
    set_up, packets = group
    read: list[memoryview] = []
    original = H264Headers._slice

    def counted(headers: H264Headers, unit: memoryview) -> Slice:
        read.append(unit)
        return original(headers, unit)

    monkeypatch.setattr(H264Headers, "_slice", counted)
    with pytest.raises(NotFollowed):
        H264Headers(set_up).slices(memoryview(prefixed(*[units_of(packets[0])[-1][:12]] * 5000)))
    assert len(read) < 5000


def test_a_number_that_is_too_long_is_none() -> None:
    assert BitReader(b"\0\0\1\0\0\0\0").number() == 2**23 - 1
    with pytest.raises(NotEnoughBits):
        BitReader(bytes(4) + b"\x80" + bytes(5)).number()


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

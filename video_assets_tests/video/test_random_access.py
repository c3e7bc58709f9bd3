"""Where decoding may start."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from video_assets.video.decode import SampledFrames
from video_assets.video.index import index_video
from video_assets.video.sampling import EverySeconds
from video_assets_tests.video.ffmpeg_oracle import by_the_rule, needs_ffmpeg, pixel_md5, presented_frames
from video_assets_tests.video.make_video import make_video


def parameter_sets(extradata: bytes) -> bytes:
    """The SPS and PPS of an avcC, each with its length."""
    sps = 8 + int.from_bytes(extradata[6:8], "big")
    pps = sps + 3 + int.from_bytes(extradata[sps + 1 : sps + 3], "big")
    units = extradata[8:sps], extradata[sps + 3 : pps]
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def joined(folder: Path, *, same_sets: bool) -> Path:
    """Two streams one after the other; the second brings its parameter sets with its first key frame only."""
    params = "threads=1:scenecut=0:keyint=12:min-keyint=1:qp="
    one = make_video(folder / "one.mp4", frames=24, options={"x264-params": params + "20"})
    two = make_video(folder / "two.mp4", frames=36, options={"x264-params": params + ("20" if same_sets else "40")})
    path, number = folder / "joined.mp4", 0
    with av.open(str(one)) as first, av.open(str(two)) as second, av.open(str(path), "w") as output:
        copy = output.add_stream_from_template(first.streams.video[0], opaque=True)
        for source in (first, second):
            stream = source.streams.video[0]
            for packet in source.demux(stream):
                if not packet.size:
                    continue
                sets = parameter_sets(bytes(stream.codec_context.extradata or b"")) if packet.pts == 0 else b""
                written = av.Packet(sets + bytes(packet))
                written.is_keyframe, written.stream = packet.is_keyframe, copy
                written.pts = written.dts = number * 512
                written.time_base, written.duration = Fraction(1, 15360), 512
                output.mux(written)
                number += 1
    return path


@pytest.mark.parametrize(("same_sets", "entries"), [(True, [0, 12, 24, 36, 48]), (False, [0, 12, 24])])
def test_a_key_frame_that_needs_parameter_sets_from_before_is_no_entry(
    same_sets: bool, entries: list[int], tmp_path: Path
) -> None:
    assert np.flatnonzero(index_video(joined(tmp_path, same_sets=same_sets)).entry).tolist() == entries


@needs_ffmpeg
def test_bug_frames_were_decoded_with_the_parameter_sets_of_another_stretch(tmp_path: Path) -> None:
    video = joined(tmp_path, same_sets=False)
    frames = SampledFrames(video, EverySeconds(Fraction(8, 5)))
    found = [(pts * frames.index.time_base, pixel_md5(frame)) for pts, frame in frames]
    assert found == by_the_rule(presented_frames(video), Fraction(8, 5))
    assert frames.report.mode == "planned"

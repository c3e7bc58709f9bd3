"""One video for each way times and references can be awkward; made once for all tests that ask."""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av

from video_assets_tests.video.ffmpeg_oracle import run_ffmpeg
from video_assets_tests.video.make_video import make_video

X264 = "threads=1:scenecut=0:min-keyint=1"
JITTERED = [0, 33, 70, 99, 140, 160, 900, 910, 1000, 1033, 1500, 2600, 2633, 2666, 2700, 2733, 2766, 2800, 2833, 4000]


def _interlaced(stream: av.VideoStream) -> None:
    stream.codec_context.flags |= av.codec.context.Flags.interlaced_dct | av.codec.context.Flags.interlaced_me


def _edit_list(path: Path) -> None:
    """A copy that starts in the middle of a group: the edit list hides what comes before."""
    whole = make_video(path.with_name("whole.mp4"), frames=60, gop=25, bframes=2)
    run_ffmpeg("-ss", "0.5", "-i", whole, "-c", "copy", path)


def _clock_runs_over(path: Path) -> None:
    """A transport stream whose 33-bit clock begins again at 0 after 1 s."""
    whole = make_video(path.with_name("whole.mp4"), bframes=2)
    start = 2**33 / 90_000 - 1.4 - 1  # FFmpeg's muxer adds 1.4 s
    run_ffmpeg("-i", whole, "-c", "copy", "-output_ts_offset", f"{start:.6f}", path)


def _negative_times(path: Path) -> None:
    whole = make_video(path.with_name("whole.mp4"), bframes=2)
    shifted = ("-avoid_negative_ts", "disabled", "-movflags", "negative_cts_offsets")
    run_ffmpeg("-itsoffset", "-0.5", "-i", whole, "-c", "copy", *shifted, path)


def _vp9_10bit(path: Path) -> None:
    whole = make_video(path.with_name("whole.mp4"))
    run_ffmpeg("-i", whole, "-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p10le", "-cpu-used", "8", "-g", "20", path)


def _vp8(path: Path) -> None:
    whole = make_video(path.with_name("whole.mp4"))
    # Threads of libvpx wait for one another in a loop, for ever where the processors are few and busy.
    run_ffmpeg(
        "-i", whole, "-threads", "1", "-c:v", "libvpx", "-g", "12", "-auto-alt-ref", "1", "-lag-in-frames", "8", path
    )


def _fragmented(path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    make_video(path, bframes=2, container_options=options)


MADE: dict[str, Callable[[Path], object]] = {
    "h264_gop1.mp4": functools.partial(make_video, gop=1),
    "h264_gop12.mp4": make_video,
    "h264_gop30.mp4": functools.partial(make_video, gop=30, frames=75),
    "h264_gop60.mp4": functools.partial(make_video, gop=60, frames=75),
    "h264_gop250.mp4": functools.partial(make_video, gop=250),
    "h264_b.mp4": functools.partial(make_video, bframes=3),
    "h264_b_gop250.mp4": functools.partial(make_video, bframes=3, gop=250, frames=90),
    "h264_b_pyramid_refs.mkv": functools.partial(
        make_video,
        bframes=5,
        gop=30,
        options={"x264-params": f"{X264}:keyint=30:b-pyramid=normal:ref=5:weightp=2:direct=temporal"},
    ),
    "h264_open_gop.mp4": functools.partial(
        make_video, bframes=3, options={"x264-params": f"{X264}:keyint=12:open-gop=1:bframes=3:b-adapt=0"}
    ),
    "h264_intra_refresh.mp4": functools.partial(
        make_video, options={"x264-params": f"{X264}:keyint=12:intra-refresh=1"}
    ),
    "h264_variable.mp4": functools.partial(
        make_video, frames=20, bframes=2, gop=5, pts=JITTERED, time_base=Fraction(1, 1000)
    ),
    "h264_variable.mkv": functools.partial(make_video, frames=20, gop=5, pts=JITTERED, time_base=Fraction(1, 1000)),
    "h264_late_start.mkv": functools.partial(make_video, pts=list(range(3000, 3060)), bframes=2),
    "h264_late_start.mp4": functools.partial(make_video, pts=list(range(45, 105)), bframes=2),
    "h264_late_start.ts": functools.partial(make_video, pts=list(range(3000, 3060)), bframes=2),
    "h264_clock_runs_over.ts": _clock_runs_over,
    "h264_negative.mov": _negative_times,
    "h264_edit_list.mp4": _edit_list,
    "h264_fragmented.mp4": _fragmented,
    "h264_ntsc.mp4": functools.partial(make_video, fps=Fraction(30000, 1001), bframes=2),
    "h264_10bit.mp4": functools.partial(make_video, pix_fmt="yuv420p10le", bframes=2),
    "h264_422_10bit.mov": functools.partial(make_video, pix_fmt="yuv422p10le", bframes=2),
    "h264_422.mp4": functools.partial(make_video, pix_fmt="yuv422p", bframes=2),
    "h264_odd_444.mp4": functools.partial(make_video, size=(97, 65), pix_fmt="yuv444p", bframes=2),
    "h264_interlaced.mp4": functools.partial(
        make_video, bframes=2, options={"x264-params": f"{X264}:keyint=12:tff=1"}, setup=_interlaced
    ),
    "h264.ts": functools.partial(make_video, bframes=2),
    "h264.flv": functools.partial(make_video, bframes=2),
    "h264.avi": functools.partial(make_video, bframes=2),
    "h264_audio.mp4": functools.partial(make_video, bframes=2, audio_s=2),
    "h264_one_frame.mp4": functools.partial(make_video, frames=1),
    "hevc_open_gop.mp4": functools.partial(make_video, codec="libx265", bframes=4),
    "hevc_layers.mp4": functools.partial(
        make_video,
        codec="libx265",
        options={
            "x265-params": "log-level=none:pools=1:frame-threads=1:keyint=24:min-keyint=24:scenecut=0"
            ":bframes=3:temporal-layers=3:open-gop=0:b-adapt=0"
        },
    ),
    "hevc_10bit.mkv": functools.partial(make_video, codec="libx265", bframes=2, pix_fmt="yuv420p10le"),
    "hevc_variable.mkv": functools.partial(
        make_video, codec="libx265", frames=20, bframes=2, gop=5, pts=JITTERED, time_base=Fraction(1, 1000)
    ),
    "hevc_odd_444.mp4": functools.partial(make_video, codec="libx265", bframes=2, size=(97, 65), pix_fmt="yuv444p"),
    "hevc.ts": functools.partial(make_video, codec="libx265", bframes=3),
    "vp8.webm": _vp8,
    "vp9.webm": functools.partial(
        make_video,
        codec="libvpx-vp9",
        options={"auto-alt-ref": "1", "lag-in-frames": "12", "deadline": "good", "cpu-used": "5"},
    ),
    "vp9_10bit.webm": _vp9_10bit,
    "av1_10bit.mkv": functools.partial(make_video, codec="libsvtav1", gop=15, pix_fmt="yuv420p10le"),
    "vp9.mp4": functools.partial(make_video, codec="libvpx-vp9"),
    "av1.mp4": functools.partial(make_video, codec="libsvtav1", gop=15),
    "mpeg4.mp4": functools.partial(make_video, codec="mpeg4"),
    "mpeg4_b.mp4": functools.partial(make_video, codec="mpeg4", bframes=2),
    "mpeg4_b.avi": functools.partial(make_video, codec="mpeg4", bframes=2),
    "mpeg2_interlaced.ts": functools.partial(make_video, codec="mpeg2video", bframes=2, setup=_interlaced),
    "mpeg2_b.ts": functools.partial(make_video, codec="mpeg2video", bframes=2),
    "mpeg2_b.mkv": functools.partial(make_video, codec="mpeg2video", bframes=2),
    "mpeg2_b.mpg": functools.partial(make_video, codec="mpeg2video", bframes=2),
    "mpeg1_b.mp4": functools.partial(make_video, codec="mpeg1video", bframes=2),
    "mpeg1_b.mpg": functools.partial(make_video, codec="mpeg1video", bframes=2),
    "prores.mov": functools.partial(make_video, codec="prores_ks", pix_fmt="yuv422p10le"),
    "mjpeg.avi": functools.partial(make_video, codec="mjpeg", pix_fmt="yuvj420p"),
    "mjpeg.mov": functools.partial(make_video, codec="mjpeg", pix_fmt="yuvj420p"),
    "ffv1.mkv": functools.partial(make_video, codec="ffv1"),
}

SEQUENTIAL = {"h264_interlaced.mp4", "h264.avi", "ffv1.mkv", "prores.mov"} | {
    name for name in MADE if name.startswith("mpeg")
}
"""Those whose index does not carry a plan."""

_SHORT = functools.partial(make_video, frames=40, gop=10)
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
_FASTSTART = {"movflags": "+faststart"}

TO_DAMAGE: dict[str, Callable[[Path], object]] = {
    "short_h264.mp4": functools.partial(_SHORT, bframes=2, audio_s=1, container_options=_FASTSTART),
    "short_h264.mkv": functools.partial(_SHORT, bframes=2),
    "short_mpeg4.avi": functools.partial(_SHORT, codec="mpeg4", bframes=2),
    "short_h264.ts": functools.partial(_SHORT, bframes=2),
    "short_hevc.mov": functools.partial(_SHORT, codec="libx265", bframes=2, rotate=90, container_options=_FASTSTART),
    "short_mpeg2.mpg": functools.partial(_SHORT, codec="mpeg2video", bframes=2),
    "short_h264.h264": functools.partial(_SHORT, format="h264", bframes=2),
    "short_vp9.webm": functools.partial(_SHORT, codec="libvpx-vp9"),
    "short_fragments.mp4": functools.partial(_SHORT, bframes=2, container_options=_FRAGMENTS),
    "short_av1.mp4": functools.partial(_SHORT, codec="libsvtav1", container_options=_FASTSTART),
    "short_mjpeg.avi": functools.partial(_SHORT, codec="mjpeg", pix_fmt="yuvj420p"),
    "short_hevc_10bit.mkv": functools.partial(_SHORT, codec="libx265", bframes=2, pix_fmt="yuv420p10le"),
    "short_hevc.ts": functools.partial(_SHORT, codec="libx265", bframes=2),
}
"""Short ones of every kind of container, to be cut and scribbled on."""


def made_video(name: str, folder: Path) -> Path:
    """The video of that name, made in `folder` where it is not there yet."""
    path = folder / name.replace(".", "_") / name
    if not path.exists():
        path.parent.mkdir()
        (MADE | TO_DAMAGE)[name](path)
    return path

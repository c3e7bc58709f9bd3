"""What frames cost, against the ffmpeg command line and a sequential PyAV loop, on the same files in the same run.

    python -m benchmarks.frames [--seconds 60] [--rounds 1] [--json]

One thread each, JPEG files in a folder. `ratio` is theirs / ours: above 1 we are cheaper. Works in temporary folders
that go away.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks.encodings import ENCODINGS, Encoding, make_encoding
from benchmarks.extraction import Cost, by_ffmpeg, by_pyav, by_us
from benchmarks.footage import PARTITION, Footage
from benchmarks.ours import Deployment
from video_assets.errors import VideoAssetsError
from video_assets.settings import Settings

POLICIES = ("fps=0.5", "fps=1", "fps=2", "fps=5", "keyframes")
GOALS = {("fps=1", 30): 4.0, ("fps=1", 60): 2.5, ("fps=1", 250): 1.3}
KEYFRAMES_GOAL = 1.2
ASSET_GOAL = 1.25
ASSET_CLIPS = 20
CORES = 2


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians over the rounds, in seconds; ratios are medians of the rounds' ratios."""

    encoding: str
    policy: str
    images: int
    cpu_s: float
    wall_s: float
    ffmpeg_cpu_ratio: float
    ffmpeg_wall_ratio: float
    pyav_cpu_ratio: float
    goal: float

    @property
    def reached(self) -> bool:
        return self.ffmpeg_cpu_ratio >= self.goal


@dataclass(frozen=True, slots=True)
class Asset:
    """CPU seconds of a Dagster run of the asset `frames` on two cores, and of the engine alone on the same clips."""

    clips: int
    asset_cpu_s: float
    engine_cpu_s: float

    @property
    def ratio(self) -> float:
        return self.asset_cpu_s / self.engine_cpu_s


def main() -> int:
    """Measures and prints; returns the exit status."""
    options = _options()
    if shutil.which("ffmpeg") is None:
        return _fail("the ffmpeg command is not installed; it makes the footage, and it is a peer")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="video_assets_benchmark_") as name:
        folder = Path(name)
        try:
            videos = {encoding: make_encoding(folder, encoding, options.seconds) for encoding in ENCODINGS}
        except VideoAssetsError as error:
            return _fail(str(error))
        rows = [
            _compare(e, video, policy, folder, options.rounds) for e, video in videos.items() for policy in POLICIES
        ]
        asset = _measure_asset(videos[Encoding("h264", 60, b_frames=True)], folder)
    if options.json:
        print(json.dumps({"comparisons": [asdict(row) for row in rows], "asset": asdict(asset)}, indent=2))
    else:
        print(f"{options.seconds:g} s of 1280x720 at 30 frames/s; {os.cpu_count()} cores, load {load:.1f} at the start")
        print(as_text(rows, asset))
    return 0


def _compare(encoding: Encoding, video: Path, policy: str, folder: Path, rounds: int) -> Comparison:
    print(f"{encoding}, {policy}", file=sys.stderr)
    by_us(video, policy, _new(folder / "images"))  # Imports, and the file into the system's cache.
    ways = (by_us, by_ffmpeg, by_pyav)
    costs = [[way(video, policy, _new(folder / "images")) for way in ways] for _ in range(rounds)]
    ours, ffmpeg, pyav = (list(column) for column in zip(*costs, strict=True))
    return Comparison(
        encoding=str(encoding),
        policy=policy,
        images=ours[0].images,
        cpu_s=median(cost.cpu_s for cost in ours),
        wall_s=median(cost.wall_s for cost in ours),
        ffmpeg_cpu_ratio=_ratio(ffmpeg, ours, "cpu_s"),
        ffmpeg_wall_ratio=_ratio(ffmpeg, ours, "wall_s"),
        pyav_cpu_ratio=_ratio(pyav, ours, "cpu_s"),
        goal=KEYFRAMES_GOAL if policy == "keyframes" else GOALS.get((policy, encoding.gop), 1.0),
    )


def _ratio(theirs: list[Cost], ours: list[Cost], what: str) -> float:
    return median(getattr(their, what) / getattr(our, what) for their, our in zip(theirs, ours, strict=True))


def _new(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _measure_asset(video: Path, folder: Path) -> Asset:
    print("the asset", file=sys.stderr)
    template = Settings().template()
    clips = []
    for number in range(ASSET_CLIPS):
        start = datetime.fromisoformat(f"{PARTITION.date}T08:30:00+00:00") + timedelta(minutes=number)
        clips.append(folder / "uploads" / template.format(str(PARTITION.vehicle), "front", start))
        clips[-1].parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(video, clips[-1])
    ours = Deployment(Footage(folder / "uploads", tuple(clips), 0), folder / "home", CORES)
    ours.materialize_cpu_s("video_manifest", "clips")
    asset_cpu_s = ours.materialize_cpu_s("frames")
    engine_cpu_s = sum(by_us(clip, "fps=1", _new(folder / "images")).cpu_s for clip in clips)
    return Asset(len(clips), asset_cpu_s, engine_cpu_s)


def as_text(rows: list[Comparison], asset: Asset) -> str:
    """A line for each file and policy, and one for the asset."""
    lines = [f"{'file':18} {'policy':10} {'images':>6} {'CPU s':>7} {'ffmpeg':>7} {'PyAV':>7} {'wall':>7}  to reach"]
    for r in rows:
        lines.append(
            f"{r.encoding:18} {r.policy:10} {r.images:6} {r.cpu_s:7.2f} {r.ffmpeg_cpu_ratio:6.2f}× "
            f"{r.pyav_cpu_ratio:6.2f}× {r.ffmpeg_wall_ratio:6.2f}×  {r.goal:.1f}× "
            f"{'reached' if r.reached else 'NOT reached'}"
        )
    lines.append("(CPU against ffmpeg and PyAV, wall against ffmpeg: theirs / ours)")
    verdict = "reached" if asset.ratio <= ASSET_GOAL else "NOT reached"
    lines.append(
        f"the asset frames on {asset.clips} clips of h264 GOP 60: {asset.asset_cpu_s:.2f} s of CPU, the engine alone "
        f"{asset.engine_cpu_s:.2f} s, {asset.ratio:.2f}× (to reach at most {ASSET_GOAL}×: {verdict})"
    )
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frames", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="Length of each video; 60 if not given.")
    parser.add_argument("--rounds", type=int, default=1, help="How often everything is measured; 1 if not given.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    options = parser.parse_args()
    if options.seconds < 1 or options.rounds < 1:
        parser.error("give at least 1 second and 1 round")
    return options


def _fail(reason: str) -> int:
    print(f"Error: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

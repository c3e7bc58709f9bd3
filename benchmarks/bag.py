"""What a bag's clip costs, against reading every message with rosbags and writing the same bytes, in the same run.

    python -m benchmarks.bag [--megabytes 1000] [--rounds 3] [--json]

One bag of JPEG images of 1280x720 in chunks without compression. Sides, in turn, each in a process of its own:

- `bare`: rosbags, and a file;
- `clip`: the MP4 of the topic, read back and held against the bag, in a temporary file on the same disk;
- `published`: that, and its copy with SHA-256 in a local store, on the disk, as the stage `clips` leaves it.

Figures are medians over the rounds; ratios are ours / bare: below 1 we are faster. Works in a temporary folder that
goes away.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rosbags.rosbag1 import Reader, Writer
from rosbags.typesys import Stores, get_typestore

from video_assets.stages.bags import Bagging, write_bag
from video_assets.storage.registry import open_store
from video_assets.video.bag_clips import BagClips
from video_assets.video.h264 import CRF

RATIO_GOAL = 3.0
MEMORY_GOAL_MB = 300
TOPIC, KIND = "/front/image_raw/compressed", "sensor_msgs/msg/CompressedImage"
PICTURES = 30
SIDES = ("bare", "clip", "published")


def main() -> int:
    """Measures and prints; returns the exit status."""
    options = _options()
    if options.side:
        print(json.dumps(_side(options.side, Path(options.bag), Path(options.out))))
        return 0
    with tempfile.TemporaryDirectory(prefix="video_assets_benchmark_") as name:
        folder = Path(name)
        images = _write(folder / "a.bag", options.megabytes * 1_000_000)
        rounds = [{side: _measured(side, folder) for side in SIDES} for _ in range(options.rounds)]
        megabytes = (folder / "a.bag").stat().st_size / 1e6
    sides = {side: _medians([measured[side] for measured in rounds]) for side in SIDES}
    ratios = {
        f"{side}_{unit}": sides[side][figure] / sides["bare"][figure]
        for side in SIDES[1:]
        for unit, figure in (("wall", "seconds"), ("cpu", "cpu_s"))
    }
    peak = max(sides[side]["peak_mb"] for side in SIDES[1:])
    reached = ratios["clip_wall"] <= RATIO_GOAL and peak <= MEMORY_GOAL_MB
    result = {"images": images, "megabytes": megabytes, **sides, "ratios": ratios, "reached": reached}
    print(json.dumps(result, indent=2) if options.json else _text(result))
    return 0


def _write(path: Path, size: int) -> int:
    """A bag of about `size` bytes; returns how many images it has."""
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    dice = np.random.default_rng(1)
    noise = dice.integers(0, 60, (720, 1280, 3), dtype=np.uint8)
    pictures = []
    for number in range(PICTURES):
        file = io.BytesIO()
        Image.fromarray(np.roll(noise, number * 40, axis=1) + np.uint8(number * 3)).save(file, "JPEG", quality=80)
        pictures.append(np.frombuffer(file.getvalue(), np.uint8))
    with Writer(path) as writer:
        topic = writer.add_connection(TOPIC, KIND, typestore=store)
        written = number = 0
        while written < size:
            stamp = 1_767_600_000 * 10**9 + number * 33_333_333
            time_type, header_type = types["builtin_interfaces/msg/Time"], types["std_msgs/msg/Header"]
            header = header_type(seq=0, stamp=time_type(stamp // 10**9, stamp % 10**9), frame_id="")
            data = pictures[number % PICTURES]
            writer.write(topic, stamp, store.serialize_ros1(types[KIND](header, "jpeg", data), KIND))
            written += len(data)
            number += 1
    return number


def _measured(side: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bag", "--side", side, "--bag", str(folder / "a.bag")]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        environment = {**os.environ, "TMPDIR": out}
        done = subprocess.run([*command, "--out", out], stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(done.stdout)


def _medians(measured: list[dict[str, float]]) -> dict[str, float]:
    return {figure: statistics.median(one[figure] for one in measured) for figure in measured[0]}


def _side(side: str, bag: Path, out: Path) -> dict[str, float]:
    begun, cpu = time.perf_counter(), time.process_time()
    {"bare": _bare, "clip": _clip, "published": _published}[side](bag, out)
    seconds, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    return {"seconds": seconds, "cpu_s": cpu_s, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _bare(bag: Path, out: Path) -> None:
    with Reader(bag) as reader, (out / "bare").open("wb") as file:
        for _, _, raw in reader.messages():
            file.write(raw)


def _clip(bag: Path, out: Path) -> None:
    clips = BagClips(bag)
    assert [clip.topic for clip in clips] == [TOPIC]
    assert not clips.problems


def _published(bag: Path, out: Path) -> None:
    store = open_store(str(out / "store"), create=True)
    with bag.open("rb") as media:
        rows, problem = write_bag(
            media, Bagging("/{camera}/{rest}", CRF), store, key=lambda number, suffix: f"{number}{suffix}", label="bag"
        )
    assert [row["codec"] for _, row in rows] == ["mjpeg"]
    assert problem is None


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['images']} JPEG images, {result['megabytes']:.0f} MB"]
    for side in SIDES:
        of, ratios = result[side], result["ratios"]
        ratio = "" if side == "bare" else f"; {ratios[f'{side}_wall']:.2f}x, CPU {ratios[f'{side}_cpu']:.2f}x"
        lines.append(
            f"  {side:9}  {of['seconds']:6.2f} s, CPU {of['cpu_s']:5.2f} s, peak {of['peak_mb']:4.0f} MB{ratio}"
        )
    reached = "reached" if result["reached"] else "NOT reached"
    lines.append(f"to reach at most {RATIO_GOAL:g}x for the clip, and {MEMORY_GOAL_MB} MB: {reached}")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bag", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="Size of the bag; 1000 if not given.")
    parser.add_argument("--rounds", type=int, default=3, help="How often each side runs; 3 if not given.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    for name in ("--side", "--bag", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.megabytes < 1 or options.rounds < 1:
        parser.error("give at least 1 megabyte and 1 round")
    return options


if __name__ == "__main__":
    sys.exit(main())

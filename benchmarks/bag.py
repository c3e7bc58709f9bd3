"""What a bag's clip costs, against reading every message with rosbags and writing the same bytes, in the same run.

    python -m benchmarks.bag [--megabytes 1000] [--json]

One bag of JPEG images of 1280x720 in chunks without compression. `ratio` is ours / theirs, in seconds: below 1 we are
faster. Each side runs in a process of its own, whose peak memory is told. Works in a temporary folder that goes away.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rosbags.rosbag1 import Reader, Writer
from rosbags.typesys import Stores, get_typestore

from video_assets.video.bag_clips import BagClips

RATIO_GOAL = 3.0
MEMORY_GOAL_MB = 300
TOPIC, KIND = "/front/image_raw/compressed", "sensor_msgs/msg/CompressedImage"
PICTURES = 30


def main() -> int:
    """Measures and prints; returns the exit status."""
    options = _options()
    if options.side:
        print(json.dumps(_side(options.side, Path(options.bag), Path(options.out))))
        return 0
    with tempfile.TemporaryDirectory(prefix="video_assets_benchmark_") as name:
        folder = Path(name)
        images = _write(folder / "a.bag", options.megabytes * 1_000_000)
        bare, ours = (_measured(side, folder) for side in ("bare", "ours"))
        megabytes = (folder / "a.bag").stat().st_size / 1e6
    ratio = ours["seconds"] / bare["seconds"]
    result = {
        "images": images,
        "megabytes": megabytes,
        "bare": bare,
        "ours": ours,
        "ratio": ratio,
        "reached": ratio <= RATIO_GOAL and ours["peak_mb"] <= MEMORY_GOAL_MB,
    }
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
    done = subprocess.run([*command, "--out", str(folder / f"{side}.mp4")], stdout=subprocess.PIPE, check=True)
    (folder / f"{side}.mp4").unlink()
    return json.loads(done.stdout)


def _side(side: str, bag: Path, out: Path) -> dict[str, float]:
    begun, cpu = time.perf_counter(), time.process_time()
    (_ours if side == "ours" else _bare)(bag, out)
    seconds, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    return {"seconds": seconds, "cpu_s": cpu_s, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _ours(bag: Path, out: Path) -> None:
    clips = BagClips(bag)
    with out.open("wb") as file:
        for clip in clips:
            while chunk := clip.file.read(1 << 20):
                file.write(chunk)
    assert not clips.problems


def _bare(bag: Path, out: Path) -> None:
    with Reader(bag) as reader, out.open("wb") as file:
        for _, _, raw in reader.messages():
            file.write(raw)


def _text(result: dict[str, object]) -> str:
    bare, ours = result["bare"], result["ours"]
    assert isinstance(bare, dict)
    assert isinstance(ours, dict)
    return (
        f"{result['images']} JPEG images, {result['megabytes']:.0f} MB: {ours['seconds']:.2f} s, peak "
        f"{ours['peak_mb']:.0f} MB; rosbags and a file {bare['seconds']:.2f} s: {result['ratio']:.2f}× "
        f"(to reach at most {RATIO_GOAL:g}×, {MEMORY_GOAL_MB} MB: {'reached' if result['reached'] else 'NOT reached'})"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bag", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="Size of the bag; 1000 if not given.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    for name in ("--side", "--bag", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.megabytes < 1:
        parser.error("give at least 1 megabyte")
    return options


if __name__ == "__main__":
    sys.exit(main())

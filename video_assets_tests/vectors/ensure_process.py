"""Run as a process of its own: `python -m … LOCATION`, makes collections until it is killed."""

from __future__ import annotations

import itertools
import sys

from video_assets.vectors.registry import open_vector_index
from video_assets_tests.vectors.fleet_points import DIM

if __name__ == "__main__":
    index = open_vector_index(sys.argv[1])
    for number in itertools.count():
        index.ensure(f"model-{number}", DIM)
        print(number, flush=True)

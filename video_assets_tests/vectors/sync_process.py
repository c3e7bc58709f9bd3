"""Run as a process of its own: `python -m … LOCATION VEHICLE FIRST LAST GENERATION STOP`, one `sync_partition`.

Prints a line per point handed to the index, and stops after STOP of them until its stdin is closed, so
that a test can kill it in the midst of its work, however fast that goes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Set

from video_assets.vectors import collection
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.sync import sync_partition
from video_assets.vectors.vector_index import Point
from video_assets_tests.vectors.fleet_points import COLLECTION, DATE, Loader, wanted_rows


def main(location: str, vehicle: str, first: int, last: int, generation: int, stop: int) -> None:
    # Some 20 points a batch, so that a small partition takes many.
    collection.BATCH_BYTES = 20_000 if location.startswith("http") else 6_000
    frames = range(first, last)
    wanted = wanted_rows(vehicle, frames, generation)
    loader = Loader(vehicle, frames, wanted)

    def load(ids: Set[str]) -> Iterator[Point]:
        for handed_over, point in enumerate(loader(ids)):
            if handed_over == stop:
                sys.stdin.read()
            yield point
            print("handed over", flush=True)

    print(sync_partition(open_vector_index(location), COLLECTION, DATE, vehicle, wanted, load), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(number) for number in sys.argv[3:]))

"""The uploader, in a process of its own.

    python -m benchmarks.upload_client FOLDER URI

Watches the folder until its one file is uploaded and its record published; prints the seconds of wall and of CPU that
this takes once imports are done, children included, as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from pathlib import Path

from video_assets.storage.registry import open_store
from video_assets.uploads.checkpoint import open_checkpoint
from video_assets.uploads.tools import WatchOptions
from video_assets.uploads.watch import Watcher


def main() -> None:
    """Uploads once."""
    folder, uri = Path(sys.argv[1]), sys.argv[2]
    store, stop = open_store(uri), threading.Event()
    list(store.uploads.pending())  # imports and clients are made by the first use
    watcher = Watcher(folder, store, open_checkpoint(None, store, folder), WatchOptions(settle_s=0.0), stop)
    before, begun = _cpu_s(), time.perf_counter()
    thread = threading.Thread(target=watcher.run)
    thread.start()
    while not watcher.tools.tally.files_done:
        time.sleep(0.02)
    wall_s = time.perf_counter() - begun
    stop.set()
    thread.join()
    print(json.dumps({"wall_s": wall_s, "cpu_s": _cpu_s() - before}))


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    main()

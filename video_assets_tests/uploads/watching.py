"""Watchers of the tests: the command in a process of its own, to be killed, or in a thread of this one."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from video_assets.storage.registry import open_store
from video_assets.uploads.checkpoint import open_checkpoint
from video_assets.uploads.tools import WatchOptions
from video_assets.uploads.watch import Watcher

WAIT_S = 60.0
PART_BYTES = 102_400
"""The least that OSS takes."""


def box(kind: bytes, body: bytes) -> bytes:
    """A box of MP4."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def movie(size: int, seed: int = 0) -> bytes:
    """Bytes that have the boxes of an MP4, each with others."""
    head = box(b"ftyp", b"isom0000") + box(b"moov", b"tables")
    body = b"".join((seed * 1_000_003 + n).to_bytes(8, "big") for n in range(size // 8 + 1))
    return head + box(b"mdat", body[: size - len(head) - 8])


def until(holds: Callable[[], bool]) -> None:
    """Returns once it holds; a test fails that waits too long."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about")
        time.sleep(0.02)


@contextmanager
def watching(folder: Path, uri: str, checkpoint: str | None = None, **options: object) -> Iterator[Watcher]:
    """A watcher in a thread, ended at the end of the block; what it raises is raised."""
    store, stop, raised = open_store(uri), threading.Event(), list[BaseException]()
    chosen = WatchOptions(**{"settle_s": 0.0, "part_bytes": PART_BYTES, "rescan_s": 0.3, **options})  # type: ignore[arg-type]
    watcher = Watcher(folder, store, open_checkpoint(checkpoint, store, folder), chosen, stop)

    def run() -> None:
        try:
            watcher.run()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield watcher
    finally:
        stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()
        if raised:
            raise raised[0]


@contextmanager
def command(folder: Path, uri: str, *options: str, part_bytes: int = PART_BYTES) -> Iterator[subprocess.Popen[str]]:
    """`video-assets upload watch` in a process of its own; killed at the end of the block."""
    line = [sys.executable, "-m", "video_assets.cli", "upload", "watch", str(folder), "--to", uri, "--settle", "0"]
    line += ["--rescan", "1", "--part-bytes", str(part_bytes), *options]
    process = subprocess.Popen(line, env=dict(os.environ), stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """`kill -9`."""
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT_S)

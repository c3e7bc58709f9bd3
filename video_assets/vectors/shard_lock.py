"""Whose turn it is at an embedded collection.

The engine lets one process at a time open a shard, readers included, and fails at once for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from video_assets.vectors.index_errors import IndexBusyError, IndexUnwritableError

POLL_S = 0.005


@contextmanager
def hold_collection(locks: Path, collection: str, wait_s: float) -> Iterator[None]:
    """Exclude every other process and thread from the collection for the duration of the block.

    Args:
        locks: directory of the lock files.
        wait_s: how long to wait for the turn.

    Raises:
        IndexBusyError: others held the collection all that time.
        IndexUnwritableError: the lock files cannot be made.
    """
    deadline = time.monotonic() + wait_s
    with ExitStack() as held:
        try:
            locks.mkdir(parents=True, exist_ok=True)
            # Two locks: who waits for the collection holds the turn, so that a writer which comes back
            # for its next batch queues behind a waiting search instead of starving it.
            with FileLock(locks / f"{collection}.turn").acquire(timeout=wait_s, poll_interval=POLL_S):
                left_s = max(0.0, deadline - time.monotonic())
                # A session's turn may be ended by another thread than took it.
                lock = FileLock(locks / f"{collection}.lock", thread_local=False)
                held.enter_context(lock.acquire(timeout=left_s, poll_interval=POLL_S))
        except Timeout as error:
            raise busy_error(collection, wait_s) from error
        except OSError as error:
            raise IndexUnwritableError(
                str(locks),
                f"cannot lock: {error}",
                "Give the vector index a directory of its own to write to.",
            ) from error
        yield


def others_wait(locks: Path, collection: str) -> bool:
    """Whether somebody waits for the collection that this thread holds, or may: where the locks cannot be used (too
    many open files), they are to fail in the next call, which says so.
    """
    turn = FileLock(locks / f"{collection}.turn")
    try:
        with turn.acquire(blocking=False):
            return False
    except (Timeout, OSError):
        return True


def busy_error(collection: str, wait_s: float) -> IndexBusyError:
    return IndexBusyError(
        f"collection {collection}",
        f"another process held it for {wait_s:g} s",
        "Try again, end the program that has it open, or use a Qdrant server for many readers.",
    )

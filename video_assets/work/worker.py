"""One worker process as its parent sees it, and the workers that rest between two runs.

A worker is a fresh interpreter, never a fork: threads of obstore, Arrow or Dagster cannot hang it. It is not
started through `multiprocessing`, which imports the parent's `__main__` again in every worker (a second for
the dagster CLI, and the whole script where it lacks a main guard) and whose fork server keeps the environment
of its first start.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from video_assets.work.messages import Inbox, Message, Order, Rest, frame

_PIECE_BYTES = 1 << 20
_SEND_TIMEOUT_S = 60.0
_EXIT_TIMEOUT_S = 5.0

_START = """\
import json, sys
channel, lifeline, limit, sys.path = json.loads(sys.argv.pop())
from video_assets.work.worker_main import main
main(channel, lifeline, limit)
"""


_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
"""There is a worker for each core, and OpenBLAS' threads spin after every call: NumPy takes one, unless told."""

_LARGE_GOES_BACK = {"MALLOC_MMAP_THRESHOLD_": str(8 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}
"""What glibc does with pieces above 8 MiB (4K pictures): each back to the system when it is freed. By itself it keeps
ever larger ones in a heap that it cannot shrink: 25 MB more for such a clip, at no gain in time."""


class WorkerGoneError(Exception):
    """The worker is dead, dying or out of its mind: nothing more is to be had from it."""


@dataclass(frozen=True)
class _Surroundings:
    """What a worker takes from its parent when it starts; a resting one serves only under the same."""

    parent_pid: int
    directory: tuple[int, int]  # device and inode
    environment: dict[str, str]
    search_path: list[str]
    memory_limit_bytes: int | None


class Worker:
    """A running worker process with a socket of its own; see `wait_for_any`."""

    def __init__(self, surroundings: _Surroundings) -> None:
        self.surroundings = surroundings
        self._inbox = Inbox()
        self._channel, worker_channel = socket.socketpair()
        self._channel.settimeout(_SEND_TIMEOUT_S)
        worker_lifeline, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, self._start_arguments(worker_channel, worker_lifeline)],
                stdin=subprocess.DEVNULL,
                stdout=2,  # a parent's stdout may be data
                env={**_ONE_THREAD, **_LARGE_GOES_BACK, **surroundings.environment},
                pass_fds=(worker_channel.fileno(), worker_lifeline),
                start_new_session=True,  # no Ctrl-C of its own; stop() reaches what it starts
            )
        except BaseException:
            self._close_own_ends()
            raise
        finally:
            worker_channel.close()
            os.close(worker_lifeline)

    def _start_arguments(self, channel: socket.socket, lifeline: int) -> str:
        around = self.surroundings
        return json.dumps([channel.fileno(), lifeline, around.memory_limit_bytes, around.search_path])

    def fileno(self) -> int:
        return self._channel.fileno()

    def send(self, order: Order) -> None:
        """Give an order. A worker that is gone is noticed by the next `receive`."""
        try:
            self._channel.sendall(frame(order))
        except OSError:
            # TimeoutError included: half an order is none, so the worker must not wait for the rest.
            self._kill_group()

    def receive(self) -> Message | None:
        """What the socket has, once it is ready: the whole message, or None while it is incomplete.

        Raises:
            WorkerGoneError: there is nothing more to come, or nothing of sense.
        """
        try:
            piece = self._channel.recv(_PIECE_BYTES)
        except OSError as error:
            raise WorkerGoneError from error
        if not piece:
            raise WorkerGoneError
        try:
            return self._inbox.add(piece)
        except Exception as error:  # the item has written to the socket, or over the worker's memory
            raise WorkerGoneError from error

    def has_exited(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> str:
        """Kill the worker with all it has started, and say how it ended: `died by SIGSEGV`, for example.

        A process that was already ending keeps its own status.
        """
        if self.fileno() >= 0:  # not stopped before
            self._kill_group()
            self._close_own_ends()
        try:
            return _ending(self._process.wait(_EXIT_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            return "cannot be killed; it waits for a disk or a network file system"

    def _kill_group(self) -> None:
        # macOS answers PermissionError for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _close_own_ends(self) -> None:
        self._channel.close()
        os.close(self._lifeline)


def wait_for_any(workers: Sequence[Worker], timeout_s: float) -> set[Worker]:
    """The workers that have something to `receive` (their end included), after at most `timeout_s`."""
    poll = select.poll()
    by_fd = {worker.fileno(): worker for worker in workers}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return {by_fd[fd] for fd, _ in poll.poll(math.ceil(timeout_s * 1000))}


_resting: list[Worker] = []
_resting_lock = threading.Lock()


def acquire(memory_limit_bytes: int | None) -> Worker:
    """A worker for this process's present environment: one that rests, or a new one."""
    surroundings = _surroundings(memory_limit_bytes)
    with _resting_lock:
        for worker in tuple(_resting):
            if worker.surroundings.parent_pid != surroundings.parent_pid:
                _resting.remove(worker)  # a fork of this process has no business with its parent's workers
            elif worker.has_exited():
                _resting.remove(worker)
                worker.stop()
            elif worker.surroundings == surroundings:
                _resting.remove(worker)
                return worker
    return Worker(surroundings)


def release(worker: Worker) -> None:
    """Let a worker without an item rest, for the next `acquire`; it leaves by itself after a while."""
    if sys.is_finalizing():  # a generator that was never closed
        worker.stop()
        return
    worker.send(Rest())
    with _resting_lock:
        _resting.append(worker)


def _surroundings(memory_limit_bytes: int | None) -> _Surroundings:
    here = Path().stat()  # getcwd() fails where the folder has been removed
    return _Surroundings(
        os.getpid(),
        (here.st_dev, here.st_ino),
        dict(os.environ),
        [str(p) for p in sys.path],
        memory_limit_bytes,
    )


@atexit.register
def _stop_resting() -> None:
    while _resting:
        worker = _resting.pop()
        if worker.surroundings.parent_pid == os.getpid():
            worker.stop()


def _ending(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"died by {name}" + (", often the out-of-memory killer" if name == "SIGKILL" else "")

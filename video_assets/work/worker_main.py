"""What a worker process does: die with its parent, stay within its memory, answer orders."""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import os
import pickle
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from video_assets.work.failure_text import describe, one_line
from video_assets.work.messages import (
    MEMORY_STAGE,
    Failure,
    Load,
    Ready,
    Rest,
    Unloadable,
    Value,
    frame,
    read_order,
)

_REST_S = 60.0
_OOM_SCORE = 800  # of 1000: before any process that did not ask for it


def main(channel_fd: int, lifeline_fd: int, memory_limit_bytes: int | None) -> None:
    """Serve the parent at the other end of the socket `channel_fd` until it hangs up.

    Args:
        channel_fd: a connected stream socket.
        lifeline_fd: the reading end of a pipe whose writing end the parent holds and never uses.
        memory_limit_bytes: for RLIMIT_DATA; None leaves it alone.
    """
    os.set_inheritable(channel_fd, False)
    os.set_inheritable(lifeline_fd, False)
    die_with_parent(lifeline_fd)
    _be_first_out_of_memory()
    if memory_limit_bytes is not None:
        _limit_memory(memory_limit_bytes)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="worker %(process)d %(name)s: %(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a worker often ends by a kill
    _serve(socket.socket(fileno=channel_fd))


def die_with_parent(lifeline_fd: int) -> None:
    """Have the kernel end this process group when the parent is gone, whatever this process is doing then.

    The parent's end of the pipe closes however the parent dies. Linux then sends SIGIO, which ends the
    process even in a C call that holds the GIL. (PR_SET_PDEATHSIG is tied to the parent's thread, which may
    end before its process.) Elsewhere SIGIO is ignored by default, so a thread watches the pipe; it needs the
    GIL.
    """
    if sys.platform == "linux":
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])
        fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, fcntl.fcntl(lifeline_fd, fcntl.F_GETFL) | os.O_ASYNC)
        hangup = select.poll()
        hangup.register(lifeline_fd)
        if hangup.poll(0):  # before SIGIO was asked for
            _kill_own_group()
    else:
        threading.Thread(target=watch_lifeline, args=(lifeline_fd,), daemon=True).start()


def watch_lifeline(lifeline_fd: int) -> NoReturn:
    """Wait until the parent's end of the pipe is closed, then kill this process group."""
    os.read(lifeline_fd, 1)
    _kill_own_group()


def _kill_own_group() -> NoReturn:
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise SystemExit


def _be_first_out_of_memory() -> None:
    with contextlib.suppress(OSError):  # Linux only, and some sandboxes refuse
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))


def _limit_memory(limit_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit_bytes = min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _serve(channel: socket.socket) -> None:
    orders = channel.makefile("rb")
    function: Callable[[Any], object] | None = None
    while True:
        try:
            order = read_order(orders)
        except (EOFError, OSError):  # the parent is gone or tired of waiting: a rest ends by TimeoutError
            return
        channel.settimeout(None)
        if isinstance(order, Rest):
            channel.settimeout(_REST_S)
        elif isinstance(order, Load):
            try:
                function = pickle.loads(order.function_pickle)  # noqa: S301 - from our own parent
                answer = frame(Ready())
            except BaseException as error:
                answer = frame(Unloadable(describe(error)))
            channel.sendall(answer)
        elif function is not None:
            channel.sendall(_answer(function, order.item_pickle))


def _answer(function: Callable[[Any], object], item_pickle: bytes) -> bytes:
    """The framed result of one item. What is raised becomes text here: exceptions often do not unpickle."""
    start = time.monotonic()
    try:
        value = function(pickle.loads(item_pickle))  # noqa: S301 - from our own parent
    except MemoryError as error:
        return frame(_failure(MEMORY_STAGE, error, True, start))
    except BaseException as error:
        return frame(_failure(_stage_of(error), error, bool(getattr(error, "retryable", True)), start))
    seconds = time.monotonic() - start
    try:
        return frame(Value(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), seconds))
    except MemoryError as error:
        return frame(_failure(MEMORY_STAGE, error, True, start))
    except Exception as error:
        failure = _failure("result", error, False, start)
        return frame(failure._replace(text=one_line(f"the result cannot be pickled: {failure.text}")))


def _failure(stage: str, error: BaseException, retryable: bool, start: float) -> Failure:
    trace = "".join(traceback.format_exception(error))
    return Failure(stage, describe(error), retryable, time.monotonic() - start, trace)


def _stage_of(error: BaseException) -> str:
    stage = getattr(error, "stage", None)
    return str(stage) if isinstance(stage, str) else "work"

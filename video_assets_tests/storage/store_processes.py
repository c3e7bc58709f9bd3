"""What other processes do to a store in the tests. Each opens the store by its URI, as a worker does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

from video_assets.storage.object_store import MIN_PART_BYTES, ObjectExists
from video_assets.storage.registry import open_store

SPAWN = multiprocessing.get_context("spawn")
START_S = 60
"""How long a new process may take to say something; a test fails after it."""


@contextmanager
def running(target: Callable[..., None], *arguments: Any) -> Iterator[tuple[int, Connection]]:
    """A process that runs `target(pipe, *arguments)`; yields its id and our end, kills it at the end."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        yield process.pid or 0, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def hear(pipe: Connection) -> Any:
    """The next thing the process says."""
    if not pipe.poll(START_S):
        raise TimeoutError("the process said nothing")
    return pipe.recv()


def kill(pid: int, pipe: Connection) -> None:
    """`kill -9`; returns when the process is dead, as its end of the pipe is closed then."""
    os.kill(pid, signal.SIGKILL)
    try:
        while True:
            hear(pipe)
    except (EOFError, ConnectionResetError):
        return


def race(target: Callable[..., None], *calls: tuple[Any, ...]) -> list[Any]:
    """Runs `target` in one process for each of the calls, all let go together; what each says at its end."""
    with ExitStack() as stack:
        pipes = [stack.enter_context(running(target, *call))[1] for call in calls]
        assert [hear(pipe) for pipe in pipes] == ["ready"] * len(calls)
        for pipe in pipes:
            pipe.send("go")
        return [hear(pipe) for pipe in pipes]


def put_half(pipe: Connection, uri: str, key: str) -> None:
    """Says "half" in the middle of a put, and stays there."""

    def chunks() -> Iterator[bytes]:
        yield b"half" * 1000
        pipe.send("half")
        pipe.recv()

    open_store(uri).put(key, chunks())


def upload_half(pipe: Connection, uri: str, key: str) -> None:
    """Says "half" in the middle of a multipart upload, and stays there."""
    with open_store(uri).multipart(key) as upload:
        upload.write_part(1, bytes(MIN_PART_BYTES))
        pipe.send("half")
        pipe.recv()


def begin_upload(pipe: Connection, uri: str, key: str) -> None:
    """Says the id of an upload with one part, and stays there."""
    uploads = open_store(uri).uploads
    upload = uploads.begin(key, part_bytes=uploads.min_part_bytes)
    upload.send(1, bytes(uploads.min_part_bytes))
    pipe.send(upload.upload_id)
    pipe.recv()


def hold_lock(pipe: Connection, uri: str, name: str) -> None:
    """Says "held" with the lock in hand, and stays there."""
    with open_store(uri).lock(name, timeout_s=START_S):
        pipe.send("held")
        pipe.recv()


def overwrite(pipe: Connection, uri: str, key: str, versions: list[bytes]) -> None:
    """Says "ready", waits for the word, then puts the versions one after the other and says "done"."""
    store = open_store(uri)
    pipe.send("ready")
    pipe.recv()
    for version in versions:
        store.put(key, version)
    pipe.send("done")


def race_if_absent(pipe: Connection, uri: str, keys: list[str], name: bytes) -> None:
    """Says "ready", waits for the word, then puts `name` under each key if absent; says the keys it won."""
    store = open_store(uri)
    pipe.send("ready")
    pipe.recv()
    won = []
    for key in keys:
        try:
            store.put(key, name, if_absent=True)
            won.append(key)
        except ObjectExists:
            pass
    pipe.send(won)


def count_up(pipe: Connection, uri: str, key: str, times: int) -> None:
    """Adds 1 to the number under `key` so many times, each under the lock; then says "done"."""
    store = open_store(uri)
    pipe.send("ready")
    pipe.recv()
    for _ in range(times):
        with store.lock(key, timeout_s=START_S):
            number = int(store.get(key))
            time.sleep(0.001)  # lets the others run between the read and the write
            store.put(key, str(number + 1).encode())
    pipe.send("done")

"""Run one function over many items in worker processes: a bad item costs itself, never the run.

A worker has a socket of its own and one item at a time, so that whatever happens to it (a crash, a kill in
the middle of an answer, a hang) is known to be that item's and touches no other. The pools of libraries share
one pipe and its locks between the workers: pebble 5.2 loses every item when a worker is killed while it
sends, and reports a worker that exits with status 0 only after the item's timeout; `concurrent.futures` gives
up altogether.

The loop runs in the caller's thread while the caller waits for the next outcome; there are no threads and no
signals.
"""

from __future__ import annotations

import logging
import math
import pickle
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from video_assets.errors import VideoAssetsError
from video_assets.work.failure_text import describe, one_line
from video_assets.work.messages import (
    MEMORY_STAGE,
    TIMEOUT_STAGE,
    Failure,
    Item,
    Load,
    Message,
    Ready,
    Unloadable,
    Value,
)
from video_assets.work.worker import Worker, WorkerGoneError, acquire, release, wait_for_any

T = TypeVar("T")
R = TypeVar("R")

_START_TIMEOUT_S = 120.0  # covers the imports of the function's module from a cold network file system
_START_ATTEMPTS = 3
_ANSWER_TIMEOUT_S = 10.0  # between two pieces of an answer
_TICK_S = 1.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done(Generic[R]):
    """An item's result.

    Args:
        item_id: the item.
        value: what the function returned.
        seconds: how long the function ran.
    """

    item_id: str
    value: R
    seconds: float


@dataclass(frozen=True)
class Failed:
    """An item without a result.

    Args:
        item_id: the item.
        stage: for `error_stage`: the error's own `stage` if it has one, else `work`; `timeout`, `crash` or
            `memory` for what befell the worker; `result` for a value that cannot be pickled.
        message: for `error_msg`: one line of at most 500 characters, without traceback, URL queries or
            passwords.
        retryable: the error's own `retryable` if it has one; False for `result`; else True, since attempts
            are counted by the caller.
        seconds: from the start of the function to the failure.
    """

    item_id: str
    stage: str
    message: str
    retryable: bool
    seconds: float


class WorkerStartError(VideoAssetsError):
    """No worker can be started, or none can import the function; no item is to blame."""


def _nothing(*_: object) -> None:
    pass


def run_items(
    function: Callable[[T], R],
    items: Iterable[tuple[str, T]],
    *,
    workers: int,
    timeout_s: float,
    deadline: float = math.inf,
    memory_limit_bytes: int | None = None,
    on_start: Callable[[str], None] = _nothing,
    on_progress: Callable[[], None] = _nothing,
) -> Generator[Done[R] | Failed, None, None]:
    """Call `function` on every item in worker processes and yield each item's outcome as soon as it is known.

    Outcomes come in the order of completion, one per item. Closing the generator, an exception in the caller,
    and the death of this process (kill −9 included) stop the workers at once, and with them the processes
    they started.

    Workers keep living between items and are taken up again by the next call in this process under the same
    environment, so module globals of the function's module (a model session, say) serve as caches. A worker
    that nobody takes up for a minute leaves.

    Args:
        function: importable by name (not from `__main__`, no lambda), or a `functools.partial` of such a
            function. What it prints goes to stderr.
        items: (item id, argument) pairs, read lazily, never more than `workers` ahead. Arguments are pickled.
        workers: how many items run at once, each in a process of its own; at least 1.
        timeout_s: seconds that one item may take, imports of the function's module not counted. Overdue
            workers are stopped while the caller waits for the next outcome.
        deadline: when, on the clock of `time.monotonic`, every item is overdue, however long it has run. Those that
            have not begun by then are not handed to a worker: they fail by a time-out after 0 s.
        memory_limit_bytes: RLIMIT_DATA of each worker: its private writable memory (heap, decoder and model
            buffers, 8 MiB for each thread's stack), not mapped files. Linux only. None sets no limit; the
            kernel's out-of-memory killer is told to prefer workers to this process either way.
        on_start: called with the item id right before an item is handed to a worker that waits for it.
        on_progress: called after every outcome and about once a second in between.

    Raises:
        ValueError: `workers` or `timeout_s` is not positive.
        WorkerStartError: workers do not start, or cannot import `function`.
        Exception: what `items`, `on_start` and `on_progress` raise, and what pickle raises for the function
            or an argument.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if not timeout_s > 0:
        raise ValueError(f"timeout_s must be positive, not {timeout_s}")
    run = _Run(function, timeout_s, deadline, memory_limit_bytes, on_start)
    return _outcomes(run, items, workers, on_progress)


def _outcomes(
    run: _Run[T, R], items: Iterable[tuple[str, T]], workers: int, on_progress: Callable[[], None]
) -> Generator[Done[R] | Failed, None, None]:
    waiting = iter(items)
    exhausted = False
    try:
        while True:
            while not exhausted and len(run.slots) < workers:
                pair = next(waiting, None)
                if pair is None:
                    exhausted = True
                elif run.is_over():
                    yield Failed(pair[0], TIMEOUT_STAGE, "no time was left to begin it", True, 0.0)
                else:
                    run.take(*pair)
            if not run.slots:
                return
            outcome = run.step()
            if outcome is not None:
                yield outcome
            on_progress()
    finally:
        run.close()


@dataclass
class _Slot(Generic[T]):
    """One item and its worker, up to the outcome; `began_at` is None while the worker starts."""

    item_id: str
    item: T
    worker: Worker
    deadline: float
    starts: int = 1
    began_at: float | None = None

    def seconds(self) -> float:
        return 0.0 if self.began_at is None else time.monotonic() - self.began_at


class _Run(Generic[T, R]):
    """The state of one `run_items` call: at most `workers` slots, and the workers between two items."""

    def __init__(
        self,
        function: Callable[[T], R],
        timeout_s: float,
        deadline: float,
        memory_limit_bytes: int | None,
        on_start: Callable[[str], None],
    ) -> None:
        self._function_pickle = pickle.dumps(function)
        self._timeout_s = timeout_s
        self._deadline = deadline
        self._memory_limit_bytes = memory_limit_bytes
        self._on_start = on_start
        self._free: list[Worker] = []
        self.slots: list[_Slot[T]] = []

    def is_over(self) -> bool:
        """Whether nothing more is to begin."""
        return time.monotonic() >= self._deadline

    def take(self, item_id: str, item: T) -> None:
        if self._free:
            slot = _Slot(item_id, item, self._free.pop(), deadline=0.0)
            self.slots.append(slot)
            self._begin(slot)
        else:
            self.slots.append(_Slot(item_id, item, self._loading_worker(), _start_deadline()))

    def step(self) -> Done[R] | Failed | None:
        """Wait for the next event, a second at most; an outcome frees its slot."""
        patience = min(slot.deadline for slot in self.slots) - time.monotonic()
        ready = wait_for_any([slot.worker for slot in self.slots], min(max(patience, 0.0), _TICK_S))
        for slot in self.slots:
            outcome = self._look_at(slot, slot.worker in ready)
            if outcome is not None:
                self.slots.remove(slot)
                return outcome
        return None

    def close(self) -> None:
        for slot in self.slots:
            slot.worker.stop()
        for worker in self._free:
            release(worker)

    def _look_at(self, slot: _Slot[T], is_ready: bool) -> Done[R] | Failed | None:
        try:
            if is_ready:
                message = slot.worker.receive()
                if message is not None:
                    return self._on_message(slot, message)
                # The item is done; a caller who looks late, or a large result, makes it no timeout.
                slot.deadline = max(slot.deadline, time.monotonic() + _ANSWER_TIMEOUT_S)
                return None
            # A process that the item forked may hold the dead worker's socket open.
            has_exited = slot.worker.has_exited()
            is_overdue = time.monotonic() >= slot.deadline
            if not (has_exited or is_overdue) or wait_for_any([slot.worker], 0):  # its answer came meanwhile
                return None
            if has_exited:
                raise WorkerGoneError
        except WorkerGoneError:
            return self._on_death(slot)
        return self._on_overdue(slot)

    def _on_message(self, slot: _Slot[T], message: Message) -> Done[R] | Failed | None:
        match message:
            case Ready():
                self._begin(slot)
                return None
            case Unloadable(text):
                raise WorkerStartError(
                    "the function for the workers",
                    f"a worker cannot load it: {text}",
                    "It must be importable by name in a fresh Python process, within the memory limit",
                )
            case Value(value_pickle, seconds):
                self._free.append(slot.worker)
                return _unpickled(slot.item_id, value_pickle, seconds)
            case Failure(stage, text, retryable, seconds, traceback):
                _logger.debug("item %s failed in a worker\n%s", slot.item_id, traceback)
                if stage == MEMORY_STAGE:  # C libraries may be left in any state
                    slot.worker.stop()
                else:
                    self._free.append(slot.worker)
                return Failed(slot.item_id, stage, text, retryable, seconds)

    def _on_death(self, slot: _Slot[T]) -> Failed | None:
        how = slot.worker.stop()
        if slot.began_at is None:
            self._start_again(slot, how)
            return None
        return Failed(slot.item_id, "crash", f"the worker process {how}", True, slot.seconds())

    def _on_overdue(self, slot: _Slot[T]) -> Failed | None:
        slot.worker.stop()
        if slot.began_at is None:
            self._start_again(slot, f"did not load the function within {_START_TIMEOUT_S:g} s")
            return None
        return Failed(
            slot.item_id,
            TIMEOUT_STAGE,
            f"no result after {min(self._timeout_s, round(slot.seconds(), 1)):g} s; the worker process was stopped",
            True,
            slot.seconds(),
        )

    def _begin(self, slot: _Slot[T]) -> None:
        """Hand the item to its worker, which has loaded the function and waits."""
        item_pickle = pickle.dumps(slot.item)
        # A waiting worker has nothing to say: it is gone, and the item is not to blame.
        if wait_for_any([slot.worker], 0):
            self._start_again(slot, slot.worker.stop())
            return
        self._on_start(slot.item_id)
        slot.began_at = time.monotonic()
        slot.deadline = min(slot.began_at + self._timeout_s, self._deadline)
        slot.worker.send(Item(item_pickle))

    def _start_again(self, slot: _Slot[T], how: str) -> None:
        if slot.starts == _START_ATTEMPTS:
            raise WorkerStartError(
                "a worker process",
                f"it {how} before its first item, {_START_ATTEMPTS} times",
                "Look for its message on stderr; check the memory limit of workers and of this machine",
            )
        slot.starts += 1
        slot.worker = self._loading_worker()
        slot.deadline = _start_deadline()

    def _loading_worker(self) -> Worker:
        worker = acquire(self._memory_limit_bytes)
        worker.send(Load(self._function_pickle))
        return worker


def _start_deadline() -> float:
    return time.monotonic() + _START_TIMEOUT_S


def _unpickled(item_id: str, value_pickle: bytes, seconds: float) -> Done[R] | Failed:
    try:
        return Done(item_id, pickle.loads(value_pickle), seconds)  # noqa: S301 - from our own worker
    except Exception as error:
        message = one_line(f"the result cannot be unpickled: {describe(error)}")
        return Failed(item_id, "result", message, False, seconds)

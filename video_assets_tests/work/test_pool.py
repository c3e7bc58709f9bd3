from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from video_assets.work.pool import Done, Failed, WorkerStartError, run_items
from video_assets.work.worker import Worker, wait_for_any
from video_assets_tests.work import worker_functions as fn

MEMORY_LIMIT_BYTES = 1 << 30


def misbehave(*ways: str, workers: int = 2, timeout_s: float = 20.0) -> dict[str, Done[object] | Failed]:
    items = [(f"{number} {way}", way) for number, way in enumerate(ways)]
    outcomes = list(
        run_items(
            fn.misbehave,
            items,
            workers=workers,
            timeout_s=timeout_s,
            memory_limit_bytes=MEMORY_LIMIT_BYTES,
        )
    )
    assert sorted(outcome.item_id for outcome in outcomes) == sorted(item_id for item_id, _ in items)
    return {outcome.item_id.partition(" ")[2]: outcome for outcome in outcomes}


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status


def wait_until(condition: Callable[[], bool], limit_s: float = 10.0) -> float:
    """Seconds until `condition` holds; fails after `limit_s`."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit_s, "it did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - start


def read_pids(path: Path) -> list[int]:
    wait_until(lambda: path.exists() and len(path.read_text().split()) == 2)
    return [int(word) for word in path.read_text().split()]


def test_yields_every_result_with_its_item() -> None:
    outcomes = list(run_items(fn.double, ((f"item-{n}", n) for n in range(100)), workers=2, timeout_s=20))
    assert {outcome.item_id: outcome.value for outcome in outcomes if isinstance(outcome, Done)} == {
        f"item-{n}": 2 * n for n in range(100)
    }
    assert all(outcome.seconds >= 0 for outcome in outcomes)


def test_items_run_at_the_same_time(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    outcomes = run_items(fn.meet, [("a", (a, b)), ("b", (b, a))], workers=2, timeout_s=20)
    assert [type(outcome) for outcome in outcomes] == [Done, Done]


def test_an_early_result_does_not_wait_for_a_late_one(tmp_path: Path) -> None:
    late, early = tmp_path / "late", tmp_path / "early"
    early.touch()
    outcomes = run_items(fn.wait_for, [("late", late), ("early", early)], workers=2, timeout_s=20)
    assert next(outcomes).item_id == "early"
    late.touch()
    assert next(outcomes).item_id == "late"
    assert list(outcomes) == []


def test_no_items_start_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("video_assets.work.pool.acquire", None)
    assert list(run_items(fn.double, [], workers=4, timeout_s=1)) == []


@pytest.mark.parametrize(
    ("way", "stage", "text"),
    [
        ("segfault", "crash", "died by SIGSEGV"),
        ("exit 0", "crash", "exited with status 0"),
        ("exit 3", "crash", "exited with status 3"),
        ("kill", "crash", "died by SIGKILL"),
        ("die in the answer", "crash", "exited with status 0"),
        ("close all files", "crash", "died by SIGKILL"),
        ("eat memory", "memory", "MemoryError"),
        ("sys.exit", "work", "SystemExit: leaving"),
        ("return a lambda", "result", "cannot be pickled"),
        ("return a bad value", "result", "cannot be unpickled: RuntimeError: this value does not come back"),
        ("raise awkward", "work", "AwkwardError: 1 and 2 do not match"),
        ("raise locked", "work", "LockedError: holds an open file"),
    ],
)
def test_a_bad_item_fails_alone(way: str, stage: str, text: str) -> None:
    """Exit status 0 and a death in the answer are where a pipe that workers share loses more."""
    outcomes = misbehave("fine", way, "fine", "fine")
    failed = outcomes[way]
    assert isinstance(failed, Failed)
    assert (failed.stage, text in failed.message) == (stage, True), failed.message
    assert failed.retryable is (stage != "result")
    assert isinstance(outcomes["fine"], Done)


@pytest.mark.parametrize("way", ["sleep", "busy"])
def test_a_hang_costs_its_timeout(way: str) -> None:
    start = time.monotonic()
    failed = misbehave(way, "fine", "fine", timeout_s=0.7)[way]
    assert isinstance(failed, Failed)
    assert failed.stage == "timeout"
    assert "0.7 s" in failed.message
    assert failed.retryable
    assert 0.7 <= failed.seconds < 2
    assert time.monotonic() - start < 5


def test_a_dead_worker_is_noticed_although_its_fork_lives() -> None:
    start = time.monotonic()
    (outcome,) = run_items(fn.fork_and_die, [("a", None)], workers=1, timeout_s=60)
    assert isinstance(outcome, Failed)
    assert (outcome.stage, outcome.message) == ("crash", "the worker process exited with status 7")
    assert time.monotonic() - start < 5


def test_an_error_keeps_its_stage_and_text() -> None:
    failed = misbehave("raise staged")["raise staged"]
    assert isinstance(failed, Failed)
    assert (failed.stage, failed.retryable) == ("decode", False)
    assert failed.message == "clip-7: no key frame. Upload it again"


def test_a_message_is_one_short_line_without_secrets() -> None:
    outcomes = misbehave("raise with secrets", "raise much")
    secretive, long = outcomes["raise with secrets"], outcomes["raise much"]
    assert isinstance(secretive, Failed)
    assert secretive.message == "OSError: GET https://host/key?… failed for ? file"
    assert isinstance(long, Failed)
    assert len(long.message) == 500
    assert long.message.startswith("ValueError: xxx")


def test_a_deadline_is_that_of_all_items_together(tmp_path: Path) -> None:
    begun: list[str] = []
    items = [("first", 1), ("hangs", 2), ("late", 3)]
    began_at = time.monotonic()
    outcomes = list(
        run_items(fn.hang_at_2, items, workers=1, timeout_s=300, deadline=time.monotonic() + 4, on_start=begun.append)
    )
    assert time.monotonic() - began_at < 30
    assert [type(outcome) for outcome in outcomes] == [Done, Failed, Failed]
    _, hung, late = outcomes
    assert isinstance(hung, Failed)
    assert isinstance(late, Failed)
    assert (hung.stage, late.stage) == ("timeout", "timeout")
    assert 0 < hung.seconds < 20
    assert begun == ["first", "hangs"], "what has no time left is not begun"
    assert (late.seconds, late.retryable) == (0, True)


def test_planted_failures_among_many_fail_exactly() -> None:
    ways = ["fine"] * 300
    bad = ["segfault", "exit 0", "exit 3", "kill", "eat memory", "return a lambda", "raise awkward", "sleep"]
    for number, way in enumerate(bad * 3):
        ways[5 + 11 * number] = way
    items = [(str(number), way) for number, way in enumerate(ways)]
    outcomes = list(run_items(fn.misbehave, items, workers=4, timeout_s=1.0, memory_limit_bytes=MEMORY_LIMIT_BYTES))
    assert len(outcomes) == len(items)
    assert {outcome.item_id for outcome in outcomes if isinstance(outcome, Failed)} == {
        item_id for item_id, way in items if way != "fine"
    }


def test_a_large_result_comes_through() -> None:
    (outcome,) = run_items(fn.zeros, [("large", 50_000_000)], workers=1, timeout_s=20)
    assert isinstance(outcome, Done)
    assert len(outcome.value) == 50_000_000


def test_a_result_that_was_ready_in_time_is_no_timeout(tmp_path: Path) -> None:
    """The caller may take longer over one outcome than the timeout of the item that runs beside it."""
    a, b = tmp_path / "a", tmp_path / "b"
    outcomes = run_items(fn.meet_and_fill, [("a", (a, b)), ("b", (b, a))], workers=2, timeout_s=1.0)
    assert isinstance(next(outcomes), Done)
    time.sleep(1.2)
    assert isinstance(next(outcomes), Done)


def test_an_answer_that_came_since_the_last_look_is_no_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_start` of another item may take long between the look at the sockets and the look at the clock."""
    started: list[str] = []

    def look_and_dawdle(workers: list[Worker], timeout_s: float) -> set[Worker]:
        if not started or timeout_s == 0:
            return wait_for_any(workers, timeout_s)
        started.clear()
        time.sleep(0.6)
        return set()

    monkeypatch.setattr("video_assets.work.pool.wait_for_any", look_and_dawdle)
    (outcome,) = run_items(fn.double, [("a", 1)], workers=1, timeout_s=0.5, on_start=started.append)
    assert isinstance(outcome, Done)


def test_an_error_costs_no_worker(tmp_path: Path) -> None:
    def run(*names: str) -> list[Done[int] | Failed]:
        items = [(name, tmp_path / name) for name in names]
        return list(run_items(fn.refuse_first, items, workers=1, timeout_s=20))

    failed, done, again = run("a", "a"), run("a"), run("b", "a")
    pids = {outcome.value for outcome in (*failed, *done, *again) if isinstance(outcome, Done)}
    assert [type(outcome) for outcome in again] == [Failed, Done]
    assert len(pids) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_items_are_read_and_started_only_when_a_worker_waits(workers: int) -> None:
    read, started, finished = 0, 0, 0

    def items() -> Iterator[tuple[str, int]]:
        nonlocal read
        for number in range(30):
            read += 1
            assert read - finished <= workers
            yield str(number), number

    def on_start(item_id: str) -> None:
        nonlocal started
        started += 1
        assert started - finished <= workers
        assert 0 <= int(item_id) < 30

    for _ in run_items(fn.double, items(), workers=workers, timeout_s=20, on_start=on_start):
        finished += 1
    assert (read, started, finished) == (30, 30, 30)


def test_an_item_starts_once_although_its_worker_had_died_before() -> None:
    """A worker killed between two items is nobody's crash and nobody's attempt."""
    started: list[str] = []
    outcomes = run_items(fn.process_id, [("a", 0), ("b", 0)], workers=1, timeout_s=20, on_start=started.append)
    first = next(outcomes)
    assert isinstance(first, Done)
    os.kill(first.value, signal.SIGKILL)
    wait_until(lambda: not is_running(first.value))
    second = next(outcomes)
    assert isinstance(second, Done)
    assert second.value != first.value
    assert started == ["a", "b"]


def test_progress_is_called_while_a_long_item_runs(tmp_path: Path) -> None:
    calls = 0

    def on_progress() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            (tmp_path / "go").touch()

    outcomes = run_items(fn.wait_for, [("a", tmp_path / "go")], workers=1, timeout_s=20, on_progress=on_progress)
    assert [type(outcome) for outcome in outcomes] == [Done]


def test_workers_serve_the_next_run_too() -> None:
    def run() -> Done[tuple[int, int]] | Failed:
        (outcome,) = run_items(fn.count_calls, [("a", None)], workers=1, timeout_s=20)
        return outcome

    first, second = run(), run()
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert second.value == (first.value[0], first.value[1] + 1)


def test_workers_see_the_present_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for value in ("one", "two"):
        monkeypatch.setenv("VIDEO_ASSETS_TEST_VARIABLE", value)
        (outcome,) = run_items(fn.read_variable, [("a", "VIDEO_ASSETS_TEST_VARIABLE")], workers=1, timeout_s=20)
        assert isinstance(outcome, Done)
        seen.append(outcome.value)
    assert seen == ["one", "two"]


@pytest.mark.parametrize("end", ["close", "raise", "on_start"])
def test_an_early_end_stops_workers_and_their_children(end: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"

    def on_start(item_id: str) -> None:
        if item_id == "third" and end == "on_start":
            read_pids(pid_file)
            raise KeyboardInterrupt

    outcomes = run_items(
        fn.run_child_or_wait,
        [("child", (pid_file, None)), ("quick", (None, pid_file)), ("third", (None, tmp_path / "never"))],
        workers=2,
        timeout_s=60,
        on_start=on_start,
    )
    assert next(outcomes).item_id == "quick"
    pids = read_pids(pid_file)
    match end:
        case "close":
            outcomes.close()
        case "raise":
            with pytest.raises(ZeroDivisionError):
                outcomes.throw(ZeroDivisionError())
        case "on_start":
            with pytest.raises(KeyboardInterrupt):
                next(outcomes)
    assert wait_until(lambda: not any(map(is_running, pids))) < 1


@pytest.mark.parametrize("function", ["run_child_process", "block_in_c"])
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_die_with_their_parent(function: str, death: signal.Signals, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    script = f"""
        from pathlib import Path
        from video_assets.work.pool import run_items
        from video_assets_tests.work.worker_functions import {function}
        list(run_items({function}, [("a", Path({str(pid_file)!r}))], workers=1, timeout_s=600))
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.DEVNULL)
    try:
        pids = read_pids(pid_file)
        assert all(map(is_running, pids))
        parent.send_signal(death)
        assert wait_until(lambda: not any(map(is_running, pids))) < 2
    finally:
        parent.kill()
        parent.wait()


def test_watching_the_lifeline_ends_the_process_group() -> None:
    """The way of systems without SIGIO on pipes."""
    script = "import sys; from video_assets.work.worker_main import watch_lifeline; watch_lifeline(0)"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == -signal.SIGKILL


UNGUARDED_SCRIPT = """
from video_assets.work.pool import run_items
from video_assets_tests.work.worker_functions import announce
print("once")
for _ in range(2):
    print(sorted(o.value for o in run_items(announce, [("a", 1), ("b", 2)], workers=2, timeout_s=20)))
"""


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_script_needs_no_main_guard(way: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED_SCRIPT)
    command = [sys.executable, str(script) if way == "file" else "-"]
    stdin = UNGUARDED_SCRIPT if way == "stdin" else ""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "once\n[1, 2]\n[1, 2]\n"
    assert done.stderr == 4 * "announced\n"


def test_a_run_may_be_in_any_thread_and_outlive_the_one_that_began_it() -> None:
    outcomes = run_items(fn.double, [(str(n), n) for n in range(4)], workers=2, timeout_s=20)
    values: list[int] = []

    def take() -> None:
        values.extend(outcome.value for outcome in islice(outcomes, 2) if isinstance(outcome, Done))

    for _ in range(2):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert sorted(values) == [0, 2, 4, 6]


def test_runs_in_several_threads_do_not_mix() -> None:
    results: dict[int, set[int]] = {}

    def run(base: int) -> None:
        items = [(str(n), n) for n in range(base, base + 50)]
        outcomes = run_items(fn.double, items, workers=2, timeout_s=20)
        results[base] = {outcome.value for outcome in outcomes if isinstance(outcome, Done)}

    threads = [threading.Thread(target=run, args=(base,)) for base in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {base: {2 * n for n in range(base, base + 50)} for base in (0, 1000)}


def test_a_function_that_workers_cannot_import_is_nobodys_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(fn.double, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "double", fn.double, raising=False)
    with pytest.raises(WorkerStartError, match="importable by name"):
        list(run_items(fn.double, [("a", 1)], workers=1, timeout_s=20, on_start=started.append))
    assert started == []


def test_a_worker_that_cannot_start_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(WorkerStartError, match="exited with status 1 before its first item, 3 times"):
        list(run_items(fn.double, [("a", 1)], workers=1, timeout_s=20, on_start=started.append))
    assert started == []


def test_a_function_that_needs_more_than_the_memory_limit_is_nobodys_failure() -> None:
    with pytest.raises(WorkerStartError, match="MemoryError"):
        list(run_items(fn.double, [("a", 1)], workers=1, timeout_s=20, memory_limit_bytes=1 << 10))


def test_a_partial_may_carry_parameters() -> None:
    (outcome,) = run_items(partial(fn.double), [("a", 4)], workers=1, timeout_s=20)
    assert isinstance(outcome, Done)
    assert outcome.value == 8


@pytest.mark.parametrize(("workers", "timeout_s"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_nonsense_is_refused_at_once(workers: int, timeout_s: float) -> None:
    with pytest.raises(ValueError):
        run_items(fn.double, [], workers=workers, timeout_s=timeout_s)


def test_a_run_left_open_at_exit_is_quiet() -> None:
    script = """
        from video_assets.work.pool import run_items
        from video_assets_tests.work.worker_functions import double
        import builtins
        builtins.kept = run_items(double, [(str(n), n) for n in range(9)], workers=2, timeout_s=20)
        print(next(builtins.kept).item_id)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout in ("0\n", "1\n")
    assert done.stderr == ""


def test_a_fork_of_this_process_leaves_its_workers_alone() -> None:
    script = """
        import os
        from video_assets.work.pool import run_items
        from video_assets_tests.work.worker_functions import process_id
        def worker():
            return [outcome.value for outcome in run_items(process_id, [("a", 0)], workers=1, timeout_s=20)]
        first = worker()
        if os.fork() == 0:
            print("fork:", worker() != first)
        else:
            os.wait()
            print("parent:", worker() == first)
    """
    done = subprocess.run(
        [sys.executable, "-u", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("fork: True\nparent: True\n", "")

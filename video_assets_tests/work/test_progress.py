from __future__ import annotations

from video_assets.work.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_logs_at_most_one_line_in_each_interval() -> None:
    clock, lines = Clock(), list[str]()
    progress = Progress(lines.append, every_s=30, clock=clock)
    for _ in range(1000):
        clock.now += 0.1
        progress.add()
    assert len(lines) == 3


def test_a_line_comes_while_nothing_ends() -> None:
    clock, lines = Clock(), list[str]()
    progress = Progress(lines.append, unit="clips", every_s=30, clock=clock)
    progress.tick()
    clock.now += 31
    progress.tick()
    progress.tick()
    assert lines == ["0 clips, 0 failed, 0/s, in 0:00:31"]


def test_a_line_tells_counts_rates_and_the_time_left() -> None:
    clock, lines = Clock(), list[str]()
    progress = Progress(lines.append, unit="clips", total=300, every_s=60, clock=clock)
    for number in range(120):
        clock.now += 0.5
        progress.add(failed=number < 3, size_bytes=10_000_000)
    assert lines == ["120 of 300 clips, 3 failed, 1.2 GB, 2/s, 20 MB/s, 0:01:30 left"]


def test_the_end_is_always_logged_and_counted() -> None:
    clock, lines = Clock(), list[str]()
    progress = Progress(lines.append, total=2, clock=clock)
    clock.now += 4
    progress.add(size_bytes=2_000)
    progress.add(failed=True)
    assert progress.finish() == {
        "items": 2,
        "failed": 1,
        "bytes": 2_000,
        "seconds": 4.0,
        "items_per_s": 0.5,
        "bytes_per_s": 500,
    }
    assert lines == ["2 of 2 items, 1 failed, 2 kB, 0.5/s, 500 B/s, in 0:00:04"]


def test_no_time_and_no_items_divide_nothing() -> None:
    lines = list[str]()
    progress = Progress(lines.append, total=0, clock=Clock())
    assert progress.finish()["items_per_s"] == 0
    assert lines == ["0 of 0 items, 0 failed, 0/s, in 0:00:00"]


def test_units_of_bytes_do_not_run_over() -> None:
    clock = Clock()
    progress = Progress(lambda _: None, clock=clock)
    progress.add(size_bytes=999_700)
    clock.now += 1
    assert ", 1 MB," in progress.line()

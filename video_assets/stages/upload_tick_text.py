"""What a tick of the upload sensor says of itself, in a line that an engineer reads."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from video_assets.plural import counted
from video_assets.sources.upload_scan.cursor import UploadCursor
from video_assets.sources.upload_scan.memory import UploadMemory
from video_assets.sources.upload_scan.sweep import Sweep
from video_assets.sources.upload_scan.window import Window


def tick_text(
    cursor: UploadCursor,
    memory: UploadMemory,
    swept: Sweep,
    window: Window | None,
    *,
    changes: int,
    anew: str,
    seconds: float,
) -> str:
    """For example `9 videos, nothing new; skipped 1 (1 empty); 0.1 s`; where the source is too large for one tick,
    `2 partitions changed, 12 wait; look-back 250 of 1000 folders, sweep 41 % (2026-01-05 08:30 last through); 6.2 s`.
    """
    waiting = len(memory.waiting())
    news = f"{counted(changes, 'partition')} changed" if changes else "nothing new"
    told = [f"{counted(cursor.videos, 'video')}, {news}" if cursor.is_rebuilt else news]
    if waiting:
        told[0] += f", {waiting} {'waits' if waiting == 1 else 'wait'} for a run"
    if anew:
        told.insert(0, f"everything is looked at anew: {anew}")
    if window or not swept.is_done:
        told.append(_where(cursor, memory, swept, window))
    failures = [*swept.failures, *(window.failures if window else ())]
    if failures:
        told.append(f"{len(failures)} could not be listed, e.g. {failures[0]}")
    skipped: Counter[str] = Counter()
    for seen in swept.looks:
        skipped.update(seen.passed.skipped)
    if skipped.total():
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()) if count)
        told.append(f"skipped {skipped.total()} ({reasons})")
    if cursor.unmatched_count:
        told.append(f"{cursor.unmatched_count} unmatched, e.g. {cursor.unmatched_example}")
    return "; ".join([*told, f"{seconds:.1f} s"])


def _where(cursor: UploadCursor, memory: UploadMemory, swept: Sweep, window: Window | None) -> str:
    """How far the looks are."""
    told = f"look-back {window.looked_at} of {counted(window.stretches, 'folder')}, " if window else ""
    share = 1.0 if swept.is_done else memory.progress(cursor.sweep_inside or cursor.sweep_after)
    told += f"sweep {share:.0%} since {_clock(cursor.sweep_begun)}"
    return told + (f", last through {_clock(cursor.sweep_done)}" if cursor.sweep_done else "")


def _clock(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M UTC")

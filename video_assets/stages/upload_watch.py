"""One tick of the upload sensor, without Dagster: what to run now, and what to remember.

Two looks at the source, both within limits of time and pages. A *sweep* goes through all of it, and on from where it
was the next time. Where it does not come through in one tick, a *look-back* lists the last days besides. What they see
goes into a memory (`upload_memory`); what differs there from what was asked for last waits for its turn to run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from video_assets.keys import content_id
from video_assets.settings import Settings
from video_assets.sources.listing import Listing
from video_assets.sources.partition_scan import PartitionScan
from video_assets.sources.registry import open_source
from video_assets.sources.source_objects import StoreObjects
from video_assets.sources.upload_scan.cursor import Change, UploadCursor
from video_assets.sources.upload_scan.layout import layout_of
from video_assets.sources.upload_scan.memory import UploadMemory
from video_assets.sources.upload_scan.scan import Budget, whole_look
from video_assets.sources.upload_scan.sweep import Sweep, SweepPosition, sweep_within
from video_assets.sources.upload_scan.window import AFTER_ALL, Window, look_back
from video_assets.stages.unmatched import unmatched_made
from video_assets.stages.upload_changes import History, note_made, take_changes
from video_assets.stages.upload_state import forget_older, recall, remember
from video_assets.stages.upload_tick_text import tick_text
from video_assets.storage.object_store import ObjectStore, StoreError, StoreUnavailable
from video_assets.table_store.table_store import TableStore
from video_assets.tables import UNMATCHED


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one tick does: together well below the 60 s that Dagster gives it, and the 10 s of SPEC R1."""

    sweep_s: float = 2.5
    sweep_pages: int = 500
    look_back_s: float = 3.5
    runs: int = 50


@dataclass
class Tick:
    """What a tick found. `scans` has the uploads of each changed partition; those of one that is gone are none."""

    changes: list[Change]
    scans: dict[str, PartitionScan]
    unmatched_run_key: str | None
    text: str
    lines: list[str]
    cursor: str


@dataclass
class UploadWatch:
    """A source, and what is known of it. `store` keeps the memory between ticks."""

    settings: Settings
    tables: TableStore
    store: ObjectStore
    history: History
    limits: Limits = field(default_factory=Limits)

    def tick(self, cursor_text: str | None) -> Tick:
        """Looks, and says what to run.

        Raises:
            CursorError: the cursor is none of ours.
            StoreUnavailable, OdpsUnavailable: source or tables cannot be read: nothing is known, and nothing changed.
        """
        begun, now = time.monotonic(), int(time.time())
        cursor, memory, reason = recall(UploadCursor.parse(cursor_text), self.store, self.settings)
        forget_older(cursor.memory, self.store)
        listing = open_source(self.settings, with_files=True)
        is_listing = isinstance(listing.objects, StoreObjects)
        source, history = listing.store, self.history
        readers: dict[str, Any] = {
            "tables": self.tables,
            "source": source,
            "history": history,
            "is_listing": is_listing,
        }
        knows_made = note_made(cursor, memory, **readers)
        # After what was made: a run of yesterday may have made a day that nobody may ask for by now.
        memory.drop_before(self.settings.start_date.isoformat())
        step = _Step(cursor, memory, listing, now)
        if is_listing:
            step.sweep(self.limits)
            if not step.saw_all:
                step.look_back(self.limits, *self._window_days(listing))
            step.check_something_was_seen(listing.store.uri)
        else:
            step.take_whole()
        unmatched_run_key = step.end_sweep(self.history, self.tables)
        changes = take_changes(
            cursor,
            memory,
            self.limits.runs,
            first_fresh_date=self._window_days(listing)[0].isoformat(),
            knows_made=knows_made,
            **readers,
        )
        if changes and is_listing:
            listing.saw_news()
        remember(cursor, memory, self.store)
        scans = {change.partition_key: memory.found.get(change.partition_key, PartitionScan()) for change in changes}
        text = tick_text(
            cursor,
            memory,
            step.swept,
            step.window,
            changes=len(changes),
            anew=reason,
            seconds=time.monotonic() - begun,
        )
        return Tick(changes, scans, unmatched_run_key, text, step.lines(), cursor.dump())

    def _window_days(self, listing: Listing) -> tuple[Date, Date]:
        """The first and last day of the look-back."""
        today = listing.now.astimezone(ZoneInfo(self.settings.timezone)).date()
        return today - timedelta(days=self.settings.lookback_days - 1), today


class _Step:
    """The looks of one tick."""

    def __init__(self, cursor: UploadCursor, memory: UploadMemory, listing: Listing, now: int) -> None:
        self.swept = Sweep(cursor.position, unfinished=memory.unfinished)
        self.window: Window | None = None
        self.layout = layout_of(listing.template)
        self._cursor, self._memory, self._listing, self._now = cursor, memory, listing, now
        self._began_anew = cursor.position == SweepPosition() and memory.unfinished is None
        self._error: StoreError | None = None
        self._is_news = True

    @property
    def saw_all(self) -> bool:
        """Whether the sweep came through in this one tick, so that nothing is left to look back at."""
        return self._began_anew and self.swept.is_done

    def take_whole(self) -> None:
        """An inventory or a list has no prefixes to look at: it is read as a whole, where it has changed.

        Raises:
            StoreError: it cannot be read.
        """
        cursor, listing = self._cursor, self._listing
        self._begin_anew()
        # Before it is read: what comes meanwhile is another state, and taken the next time.
        state = content_id(listing.state() or "")
        self.swept = Sweep(SweepPosition(), looks=[whole_look(listing.scans())], is_done=True)
        # Runs look at each object again, and so make what is newer than the same inventory says once more.
        is_news = state != cursor.taken
        self._memory.apply(self.swept.looks[0], self._now, cursor.generation, is_news=is_news)
        cursor.taken = state
        self._is_news = is_news
        self._go_on()

    def sweep(self, limits: Limits) -> None:
        if self._began_anew:
            self._begin_anew()
        # Without days to look back at, the sweep has their time too.
        more = 0 if self.layout.has_day_prefixes else limits.look_back_s
        budget = Budget(limits.sweep_s + more, limits.sweep_pages)
        try:
            self.swept = sweep_within(self._listing.again(), self.layout, budget, self.swept)
        except StoreError as error:
            self._error = error
        for seen in self.swept.looks:
            self._memory.apply(seen, self._now, self._cursor.generation)
        self._go_on()

    def _begin_anew(self) -> None:
        cursor = self._cursor
        cursor.sweeps += 1
        cursor.sweep_begun, cursor.sweep_videos, cursor.sweep_is_whole = self._now, 0, True
        cursor.sweep_unmatched, cursor.sweep_example = [0, 0, 0], ""

    def look_back(self, limits: Limits, first: Date, last: Date) -> None:
        """Paths may name the day before or after, by another zone than the fleet's."""
        if not self.layout.has_day_prefixes or self._error is not None:
            return
        day, cursor = timedelta(days=1), self._cursor
        self.window = Window(cursor.window_after, cursor.window_inside)
        try:
            look_back(self._listing.again, self.layout, first - day, last + day, self.window, limits.look_back_s)
        except StoreError as error:
            self.window.failures.append(str(error))
        for seen in self.window.looks:
            self._memory.apply(seen, self._now, cursor.generation)
            self._pass_by(seen.places)
        cursor.window_after, cursor.window_inside = self.window.after, self.window.inside

    def check_something_was_seen(self, source: str) -> None:
        """Raises StoreUnavailable where nothing at all could be listed."""
        looks = [*self.swept.looks, *(self.window.looks if self.window else ())]
        if looks:
            return
        if isinstance(self._error, StoreUnavailable):
            raise self._error
        if failures := self.failures:
            raise StoreUnavailable(source, f"nothing could be listed: {failures[0]}")

    @property
    def failures(self) -> list[str]:
        """What could not be listed: of that, nothing is known."""
        error = [str(self._error)] if self._error else []
        return [*error, *self.swept.failures, *(self.window.failures if self.window else ())]

    def end_sweep(self, history: History, tables: TableStore) -> str | None:
        """The run key for listing the unmatched anew, where a sweep that missed nothing found others than the table."""
        cursor = self._cursor
        if not self.swept.is_done:
            return None
        cursor.sweep_done = self._now
        if not cursor.sweep_is_whole:
            return None
        cursor.videos, cursor.unmatched_example = cursor.sweep_videos, cursor.sweep_example
        if not cursor.is_rebuilt:
            # Now it is known who is not there: partitions that this memory never saw may be gone.
            self._memory.expect(history.partitions(), self._now, cursor.generation)
            self._memory.drop_before(self._listing.first_day.isoformat())
            cursor.is_rebuilt = True
        if self._is_news:
            self._memory.end_sweep(cursor.sweeps, self._now, cursor.generation)
        if isinstance(self._listing.objects, StoreObjects):
            unmatched = PartitionScan(*cursor.sweep_unmatched)
            cursor.unmatched_count = unmatched.videos
            found = unmatched.fingerprint if unmatched.videos else ""
        else:
            cursor.unmatched_count = len(self._listing.unmatched)
            found = self._listing.unmatched_fingerprint()
        # The version first: a table that comes between is looked at again.
        table = tables.version(UNMATCHED, None) or ""
        return cursor.take_unmatched(found, unmatched_made(tables), table, self._now)

    def lines(self) -> list[str]:
        """For the tick's log: what could not be listed, and keys of what was passed over."""
        passed = [line for seen in self.swept.looks for line in seen.passed.examples]
        return [*(f"not listed: {failure}" for failure in self.failures), *passed]

    def _go_on(self) -> None:
        """Writes down where the sweep is, and what it has seen so far."""
        cursor, memory = self._cursor, self._memory
        cursor.sweep_after, cursor.sweep_inside = self.swept.position.after, self.swept.position.inside
        memory.is_changed |= memory.unfinished is not None or self.swept.unfinished is not None
        memory.unfinished = self.swept.unfinished
        cursor.sweep_is_whole &= not self.swept.failures
        unmatched = PartitionScan(*cursor.sweep_unmatched)
        for seen in self.swept.looks:
            cursor.sweep_videos += seen.videos
            unmatched.include(seen.passed.unmatched)
            cursor.sweep_example = cursor.sweep_example or seen.passed.example
        cursor.sweep_unmatched = [unmatched.videos, unmatched.size_bytes, unmatched.digest]

    def _pass_by(self, places: dict[str, dict[str, PartitionScan]]) -> None:
        """A place that the sweep is in the middle of and the look-back saw whole: the newer look holds."""
        begun = self._memory.unfinished
        if begun and begun.place in places:
            self._memory.unfinished = None
            self._cursor.sweep_inside = begun.place + AFTER_ALL

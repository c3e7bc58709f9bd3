"""The watcher: what lies in the folder goes up, oldest first, and it waits for more until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from video_assets.storage.object_store import ObjectStore, StoreError
from video_assets.uploads.aside import Aside
from video_assets.uploads.bandwidth import Bandwidth
from video_assets.uploads.checkpoint import Checkpoint, abort
from video_assets.uploads.chunk_sender import ChunkSender
from video_assets.uploads.errors import FileChanged, SourceAway, Stopped, UploadError
from video_assets.uploads.events import folder_events
from video_assets.uploads.file_sender import FileSender
from video_assets.uploads.folder import Seen, Stillness, scan
from video_assets.uploads.patience import Patience
from video_assets.uploads.places import check_options, one_watcher
from video_assets.uploads.readiness import State, state_of
from video_assets.uploads.record import INCOMPLETE
from video_assets.uploads.source_file import SourceFile
from video_assets.uploads.tools import Tools, WatchOptions

_logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 3600.0
_LOOK_S = 0.5
"""A signal's handler sets the end and may not wake threads: it is looked for this often."""

_LEAST_WAIT_S, _LEAST_REST = 0.2, 10
"""A folder that is written to all the time is looked through no more often than this, a large one with rests of so
many times what a look takes.
"""


class Watcher:
    """Watches one folder for one store.

    Args:
        folder: an absolute path.
        store: where to.
        checkpoint: where uploads under way are found again.
        options: how.
        stop: set, `run` returns within seconds, with everything that was sent kept.

    Raises:
        InvalidWatch: the options do not go with the store.
    """

    def __init__(
        self,
        folder: Path,
        store: ObjectStore,
        checkpoint: Checkpoint,
        options: WatchOptions,
        stop: threading.Event,
    ) -> None:
        check_options(store, options)
        self._wake = threading.Event()
        self.tools = Tools(folder, store, checkpoint, options, Patience(stop), Bandwidth(options.bytes_s, stop), stop)
        self._files, self._chunks = FileSender(self.tools), ChunkSender(self.tools)
        self._stillness = Stillness()
        self._done: dict[str, tuple[int, int, int]] = {}
        self._aside = Aside()
        self._states: dict[str, State] = {}
        self._next_sweep = self._next_metrics = 0.0
        self._told, self._scan_s = (0, 0), 0.0

    def run(self) -> None:
        """Watches until `stop` is set.

        Raises:
            InvalidWatch: another process of this machine watches the folder for this store.
        """
        folder, uri = self.tools.folder, self.tools.store.uri
        with one_watcher(folder, uri), folder_events(folder, self._wake), contextlib.suppress(Stopped):
            _logger.info("watching %s for %s", folder, uri)
            while not self.tools.stop.is_set():
                self._wake.clear()
                wait_s = self._pass()
                self._metrics()
                self._rest(wait_s)

    def _rest(self, wait_s: float) -> None:
        """Returns after so long, or soon after an event or the end."""
        until = time.monotonic() + wait_s
        while not self._wake.is_set() and not self.tools.stop.is_set() and (left := until - time.monotonic()) > 0:
            self._wake.wait(min(left, _LOOK_S))
        self.tools.stop.wait(max(_LEAST_WAIT_S, _LEAST_REST * self._scan_s))

    def _pass(self) -> float:
        """Looks through the folder once and sends what is ready; returns for how long nothing will be."""
        seen = self.tools.patience.until_done("folder", self._scan)
        now = time.monotonic()
        self._stillness.note(seen, now)
        self._forget(seen)
        self._sweep(seen)
        for file in seen:
            if self._done.get(file.name) == file.version or self._aside.holds(file.name):
                continue
            self.tools.patience.check()
            self._handle(file)
        return self._idle_s(seen)

    def _scan(self) -> list[Seen]:
        begun = time.monotonic()
        seen, faults = scan(self.tools.folder, self.tools.options.extensions)
        self._scan_s = time.monotonic() - begun
        for fault in faults:
            self._aside.say(fault.item, fault)
        return seen

    def _handle(self, file: Seen) -> None:
        """Sends a file, or what there is of it; whatever is wrong with it stays its own."""
        still_s = self._stillness.still_s(file.name, time.monotonic())
        try:
            with SourceFile(self.tools.folder, file.name, is_growing=True) as source:
                state = state_of(file, source, still_s, self.tools.options)
            self._tell(file, state)
            if state in (State.READY, State.INCOMPLETE):
                self._send(file, state)
            elif state is State.GROWING and self.tools.options.is_followed:
                with SourceFile(self.tools.folder, file.name, is_growing=True) as source:
                    self._follow(source)
            self._aside.forget(file.name)
        except Stopped:
            raise
        except SourceAway as error:
            _logger.debug("%s", error)  # the next look into the folder says it, and waits
        except FileChanged as error:
            _logger.info("%s; it waits until it is still", error)
        except (UploadError, StoreError) as error:
            self._aside.put(file.name, error)
        except Exception as error:
            # A fault of this program with one file must not end what runs unattended for the others.
            _logger.debug("%s", file.name, exc_info=True)
            cause = f"met a fault of this program ({type(error).__name__})"
            self._aside.put(file.name, UploadError(file.name, cause, "Report it; other files go on."))

    def _send(self, file: Seen, state: State) -> None:
        tally, begun = self.tools.tally, time.monotonic()
        files_before, bytes_before = tally.files_done, tally.bytes_sent
        with SourceFile(self.tools.folder, file.name) as source:
            if (source.size, source.mtime_ns, source.inode) != file.version:
                raise FileChanged(str(source.path), "has changed since it was looked at")
            if state is State.READY and not source.has_index():
                raise FileChanged(str(source.path), "has lost its index (moov)")
            place, is_there = self._sent(source, state)
            self._done[file.name] = file.version
            if tally.files_done > files_before:
                sent_mb, seconds = (tally.bytes_sent - bytes_before) / 1e6, time.monotonic() - begun
                words = "uploaded %s to %s: %.2f MB, of which %.2f MB were sent now, in %.1f s"
                _logger.info(words, file.name, place, source.size / 1e6, sent_mb, seconds)
            if self.tools.options.is_deleted_after and state is State.READY:
                self._delete(source, is_there)

    def _sent(self, source: SourceFile, state: State) -> tuple[str, Callable[[], bool]]:
        """Sends a file; returns where to, and what asks the store whether it is there."""
        root = INCOMPLETE if state is State.INCOMPLETE else ""
        if self.tools.options.layout == "files":
            record = self._files.send(source, root + source.name)
            return self.tools.store.uri_of(root + source.name), lambda: self._files.is_there(record)
        # Of a file that was followed, chunks are at their place already.
        is_followed = self.tools.options.is_followed
        root, fault = ("", "no moov" if root else None) if is_followed else (root, None)
        record = self._chunks.send(source, root, fault)
        place = f"{self.tools.store.uri}/{root}{record['stream_id']}/"
        return place, lambda: self._chunks.is_there(record, root)

    def _delete(self, source: SourceFile, is_there: Callable[[], bool]) -> None:
        """Deletes a file whose length and checksum the store has confirmed."""
        if not is_there():
            _logger.warning("%s is kept: the store does not confirm that it has it", source.name)
            return
        source.check_unchanged()
        try:
            source.path.unlink()
        except OSError as error:
            remedy = "Give this user the permission."
            raise UploadError(str(source.path), f"cannot be deleted: {error.strerror}", remedy) from error
        self.tools.tally.files_deleted += 1
        _logger.info("deleted %s: the store has it, by length and checksum", source.name)

    def _follow(self, source: SourceFile) -> None:
        if self.tools.options.layout == "chunks":
            self._chunks.follow(source, "")
        else:
            self._files.follow(source, source.name)

    def _tell(self, file: Seen, state: State) -> None:
        if self._states.get(file.name) is not state:
            self._states[file.name] = state
            if state is State.INCOMPLETE:
                _logger.warning("%s has no index (moov) and is still: it goes up under %s", file.name, INCOMPLETE)
            elif state is State.NO_INDEX:
                _logger.info("%s is still, but has no index (moov) yet", file.name)

    def _idle_s(self, seen: list[Seen]) -> float:
        """Until the next file may have become ready; events wake earlier."""
        options, now = self.tools.options, time.monotonic()
        waits = [options.rescan_s, self._aside.next_s()]
        for file in seen:
            if self._done.get(file.name) != file.version and not self._aside.holds(file.name):
                still_s = self._stillness.still_s(file.name, now)
                ends = (options.settle_s, options.incomplete_after_s)
                waits += [end - still_s for end in ends if end > still_s]
        return max(0.0, min(waits))

    def _forget(self, seen: list[Seen]) -> None:
        names = {file.name for file in seen}
        self._aside.keep(names)
        for kept in (self._done, self._states):
            for name in kept.keys() - names:
                del kept[name]

    def _sweep(self, seen: list[Seen]) -> None:
        """Aborts uploads that were begun long ago and whose files are gone."""
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + SWEEP_EVERY_S
        tools = self.tools
        kept = {root + file.name for file in seen for root in ("", INCOMPLETE)}
        before = datetime.now(UTC) - timedelta(seconds=tools.options.abandoned_after_s)
        try:
            for pending in list(tools.store.uploads.pending()):
                if pending.begun_at < before and pending.key not in kept:
                    abort(tools.store, pending.key, pending.upload_id, tools.options.part_bytes)
                    _logger.info("aborted the upload of %s, begun on %s", pending.key, pending.begun_at.date())
        except StoreError as error:
            # It may not be permitted, and the store may be away: whatever needs it says so.
            _logger.debug("abandoned uploads were not looked for: %s", error)

    def _metrics(self) -> None:
        tally, options, now = self.tools.tally, self.tools.options, time.monotonic()
        if now >= self._next_metrics and (tally.files_done, tally.bytes_sent) != self._told:
            self._next_metrics, self._told = now + options.metrics_s, (tally.files_done, tally.bytes_sent)
            states = list(self._states.items())
            waiting = sum(name not in self._done for name, _ in states)
            incomplete = sum(state is State.INCOMPLETE for _, state in states)
            _logger.info(
                "metrics files_done=%d files_waiting=%d files_incomplete=%d files_failing=%d files_deleted=%d "
                "parts_sent=%d bytes_sent=%d away=%s",
                tally.files_done,
                waiting,
                incomplete,
                len(self._aside),
                tally.files_deleted,
                tally.parts_sent,
                tally.bytes_sent,
                ",".join(self.tools.patience.away) or "none",
            )

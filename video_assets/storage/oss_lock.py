"""A lock for all who use one bucket: a lease in an object that can only be appended to.

The last record of the object says who holds the lock. To take it, to renew it and to free it are appends at the
position last seen, and OSS lets exactly one append at a position win (`PositionNotEqualToLength` for the others):
compare-and-swap. It holds in buckets with versioning too, where OSS ignores `x-oss-forbid-overwrite`, and leaves no
versions behind.

A holder renews its lease while it lives. Whoever has seen the same record for a whole `LEASE_S` on its own clock
takes the lock over; a holder that died on this same machine is recognised at once. A holder that was stopped for
longer than the lease learns at its next renewal that it has lost the lock, and its block ends with an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from video_assets.storage.object_keys import HIDDEN_FOLDER, printable_key
from video_assets.storage.object_store import LockTimeout, StoreError, StoreUnavailable
from video_assets.storage.oss_client import OssConnection
from video_assets.storage.oss_errors import code_of, store_errors
from video_assets.storage.oss_read import get_range
from video_assets.storage.oss_uri import OssPlace

LEASE_S = 30.0
"""A lock whose holder has not renewed it for so long is free."""

RENEW_S = 6.0
RECORD_BYTES = 256
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0


@dataclass(frozen=True, slots=True)
class _Record:
    """One line of the object. `process` names machine and process exactly; `host` and `pid` are for people."""

    state: str
    token: str
    process: str
    host: str
    pid: int

    def line(self) -> bytes:
        text = f"{self.state} {self.token} {self.process} {self.pid} {self.host[:64]}"
        return text.encode("ascii", "replace")[: RECORD_BYTES - 1].ljust(RECORD_BYTES - 1) + b"\n"

    @classmethod
    def parse(cls, line: bytes, item: str) -> _Record:
        fields = line.decode("ascii", "replace").split()
        if len(line) != RECORD_BYTES or len(fields) != 5 or fields[0] not in ("held", "free"):
            raise StoreUnavailable(item, "the lock's object is not one of this program", "Delete it and run again.")
        return cls(fields[0], fields[1], fields[2], fields[4], int(fields[3]))


@dataclass(frozen=True, slots=True)
class _State:
    """The lock as last seen: how long its object is, and its last record."""

    position: int
    record: _Record | None

    @property
    def is_held(self) -> bool:
        return self.record is not None and self.record.state == "held"


class OssLock:
    """The lock `name` of the store at a place."""

    def __init__(self, connection: OssConnection, place: OssPlace, name: str) -> None:
        self._client = connection.client
        self._place = place
        self._key = f"{place.path}/" * bool(place.path) + f"{HIDDEN_FOLDER}/locks/{_file_name(name)}"
        self._item = f"lock '{printable_key(name)}' of {place.uri}"
        self._uri = place.uri_of(self._key)

    @contextlib.contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Holds the lock for the block; see `ObjectStore.lock`.

        Raises:
            LockTimeout: another held it for `timeout_s` seconds.
            StoreUnavailable: the lock was lost during the block.
        """
        lease = _Lease(self._take(timeout_s), self._append)
        try:
            yield
        except BaseException:
            with contextlib.suppress(StoreError):
                lease.end()
            raise
        if not lease.end():
            raise StoreUnavailable(
                self._item,
                f"was lost to another, since this process could not renew it for {LEASE_S:g} s",
                "Run again; look for a machine that was suspended or overloaded.",
            )

    def _take(self, timeout_s: float) -> _State:
        """Waits for the lock and takes it; the state with our own record."""
        started = seen_at = time.monotonic()
        ours = _Record("held", uuid.uuid4().hex, _this_process(), socket.gethostname() or "?", os.getpid())
        seen, wait = self._look(), _FIRST_WAIT_S
        while True:
            if not seen.is_held or _has_died(seen.record) or time.monotonic() - seen_at >= LEASE_S:
                taken = self._append(seen, ours)
                if taken is not None:
                    return taken
            left = started + timeout_s - time.monotonic()
            if left <= 0:
                raise self._timeout(seen.record, timeout_s)
            time.sleep(min(left, random.uniform(wait / 2, wait)))  # noqa: S311 (jitter)
            wait = min(2 * wait, _LONGEST_WAIT_S)
            now = self._look()
            if now != seen:
                seen, seen_at = now, time.monotonic()

    def _timeout(self, holder: _Record | None, timeout_s: float) -> LockTimeout:
        who = f"process {holder.pid} on {holder.host}" if holder else "another"
        return LockTimeout(
            self._item,
            f"was held by another ({who}) for all of {timeout_s:g} s",
            f"Wait for the run that holds it, or stop that run: its end frees the lock, within {LEASE_S:g} s.",
        )

    def _look(self) -> _State:
        from alibabacloud_oss_v2.exceptions import BaseError

        with store_errors(self._place, self._uri):
            try:
                answer = get_range(self._client, self._place, self._key, f"bytes=-{RECORD_BYTES}")
            except BaseError as error:
                if code_of(error) == "NoSuchKey":
                    return _State(0, None)
                raise
        line, span = answer.http_response.content, answer.headers.get("Content-Range", "")
        return _State(int(span.rpartition("/")[2] or len(line)), _Record.parse(line, self._uri))

    def _append(self, seen: _State, record: _Record) -> _State | None:
        """Writes a record after the one seen; None if another was written meanwhile."""
        from alibabacloud_oss_v2 import AppendObjectRequest
        from alibabacloud_oss_v2.exceptions import BaseError

        with store_errors(self._place, self._uri):
            try:
                self._client.append_object(
                    AppendObjectRequest(self._place.bucket, self._key, position=seen.position, body=record.line())
                )
            except BaseError as error:
                if code_of(error) != "PositionNotEqualToLength":
                    raise
                # The answer to an earlier try may have been lost.
                now = self._look()
                return now if now == _State(seen.position + RECORD_BYTES, record) else None
        return _State(seen.position + RECORD_BYTES, record)


class _Lease:
    """A lock in hand, renewed by a thread until it ends or is lost."""

    def __init__(self, taken: _State, append: Callable[[_State, _Record], _State | None]) -> None:
        self._state: _State | None = taken
        self._append = append
        self._renewed_at = time.monotonic()
        self._is_ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="oss-lock", daemon=True)
        self._thread.start()

    def end(self) -> bool:
        """Frees the lock; False if it was lost before."""
        self._is_ended.set()
        self._thread.join()
        if self._state is None or self._state.record is None:
            return False
        mine = self._state.record
        free = _Record("free", mine.token, mine.process, mine.host, mine.pid)
        return self._append(self._state, free) is not None

    def _renew(self) -> None:
        while self._state is not None and self._state.record is not None and not self._is_ended.wait(RENEW_S):
            try:
                self._state = self._append(self._state, self._state.record)
                self._renewed_at = time.monotonic()
            except StoreError:
                # The lease outlasts a short outage.
                if time.monotonic() - self._renewed_at > LEASE_S:
                    self._state = None


def _file_name(name: str) -> str:
    """Readable, and unique for any name."""
    readable = re.sub(r"[^A-Za-z0-9=_.-]+", "_", name)[:80]
    return f"{readable}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}.lock"


def _this_process() -> str:
    """This process among all there ever were: machine boot, process namespace, id and start; "?" where not known."""
    return _process(os.getpid()) or "?"


def _process(pid: int) -> str | None:
    """As `_this_process`; None if there is no such process here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name may hold spaces; the start time is the 20th field behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] in "ZX":
            return None
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}/{pid}/{fields[19]}"
    except OSError:
        return None


def _has_died(holder: _Record | None) -> bool:
    """Whether the holder was a process of this machine that is no more. False where that cannot be known."""
    if holder is None or holder.process == "?":
        return False
    here = _this_process().split("/")
    return here[:-2] == holder.process.split("/")[:-2] and _process(holder.pid) != holder.process

"""A lock among processes that share nothing but a bucket.

A contender writes a claim of its own, then lists the claims: it holds the lock if its claim is the only one, else it
takes the claim back and waits. Of two that write at once, the one whose write came later sees the other, so there is
never more than one holder; a listing that shows every finished write (S3, OSS and the compatible stores do) is all
that is needed, and no conditional write.

A holder renews its claim every `RENEWAL_S`. A claim that did not change for `LEASE_S` by the clock of whoever waits
is a dead holder's and is removed. A holder that lost its claim that way (its machine slept, the network was away)
learns it at the end of its block, as an error: its work may have met another's.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Protocol

from video_assets.storage.object_keys import HIDDEN_FOLDER, printable_key
from video_assets.storage.object_store import LockTimeout, ObjectInfo, StoreError, StoreUnavailable

RENEWAL_S = 5.0
LEASE_S = 30.0

_POLL_S = (0.05, 1.0)
"""The first and the longest wait between two looks at the claims."""


class Claims(Protocol):
    """What a bucket must be able to do with the claims of a lock. Keys are below the store's root."""

    def put(self, key: str, data: bytes) -> None:
        """Writes a claim."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The claims whose keys begin with `prefix`, every finished write among them."""

    def delete(self, key: str) -> None:
        """Removes a claim, if it is there."""


@contextlib.contextmanager
def hold_claim(claims: Claims, store_uri: str, name: str, timeout_s: float) -> Iterator[None]:
    """Holds the lock `name` for the block.

    Raises:
        LockTimeout: another held it for `timeout_s` seconds.
        StoreUnavailable: the claim was lost during the block.
    """
    item = f"lock '{printable_key(name)}' of {store_uri}"
    claim = _Claim(claims, _folder(name), item)
    claim.acquire(timeout_s)
    renewer = threading.Thread(target=claim.keep, name=f"renews {item}", daemon=True)
    renewer.start()
    try:
        yield
    except BaseException:
        with contextlib.suppress(StoreError):
            claim.release(renewer)
        raise
    claim.release(renewer)


def _folder(name: str) -> str:
    """Where a lock's claims lie: readable, and unique for any name."""
    readable = re.sub(r"[^A-Za-z0-9=_.-]+", "_", name)[:80]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{HIDDEN_FOLDER}/locks/{readable}-{digest}/"


class _Claim:
    """One contender."""

    def __init__(self, claims: Claims, folder: str, item: str) -> None:
        self._claims = claims
        self._folder = folder
        self._key = folder + uuid.uuid4().hex
        self._item = item
        self._seen: dict[tuple[str, str], float] = {}
        self._done = threading.Event()

    def acquire(self, timeout_s: float) -> None:
        deadline, wait_s = time.monotonic() + timeout_s, _POLL_S[0]
        while not self._try():
            left = deadline - time.monotonic()
            if left <= 0:
                raise LockTimeout(
                    self._item,
                    f"was held by another for all of {timeout_s:g} s",
                    "Wait for the run that holds it, or stop that run: its end frees the lock "
                    f"(its death within {LEASE_S:g} s).",
                )
            time.sleep(min(left, random.uniform(0.5, 1) * wait_s))  # noqa: S311
            wait_s = min(_POLL_S[1], wait_s * 1.5)

    def keep(self) -> None:
        """Renews the claim until its release. What fails is tried again: only the lease's end can lose the lock."""
        number = 0
        while not self._done.wait(RENEWAL_S):
            number += 1
            with contextlib.suppress(StoreError):
                if self._is_there():
                    self._write(number)

    def release(self, renewer: threading.Thread) -> None:
        """Takes the claim back.

        Raises:
            StoreUnavailable: it was not there any more.
        """
        self._done.set()
        renewer.join()
        was_there = self._is_there()
        self._claims.delete(self._key)
        if not was_there:
            raise StoreUnavailable(
                self._item,
                f"was lost: its claim was not renewed for {LEASE_S:g} s",
                "Rerun: another run may have worked on the same partition meanwhile.",
            )

    def _try(self) -> bool:
        """Claims the lock if nobody else seems to, and keeps the claim if nobody did."""
        if self._others():
            return False
        self._write(0)
        try:
            is_alone = not self._others()
        except BaseException:
            self._claims.delete(self._key)
            raise
        if not is_alone:
            self._claims.delete(self._key)
        return is_alone

    def _write(self, number: int) -> None:
        # The number makes each renewal another etag.
        self._claims.put(self._key, f"{number}\n".encode())

    def _is_there(self) -> bool:
        return any(info.key == self._key for info in self._claims.list(self._folder))

    def _others(self) -> list[ObjectInfo]:
        """The claims of others that are alive, as far as is known; the dead are removed."""
        now, alive = time.monotonic(), []
        seen = {}
        for info in self._claims.list(self._folder):
            if info.key == self._key:
                continue
            version = (info.key, f"{info.etag} {info.last_modified}")
            seen[version] = self._seen.get(version, now)
            if now - seen[version] > LEASE_S:
                self._claims.delete(info.key)
            else:
                alive.append(info)
        self._seen = seen
        return alive

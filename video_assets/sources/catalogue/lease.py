"""Keeps the leases of records in hand alive, from a thread with a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from video_assets.errors import VideoAssetsError
from video_assets.sources.catalogue.claims import Claims


class Lease:
    """The records that a worker has in hand, renewed three times a lease while the block runs.

    Args:
        claims: with a connection that nothing else uses.
        on_fault: takes a line for what goes wrong; a lease that ends is no harm but double work.
    """

    def __init__(self, claims: Claims, on_fault: Callable[[str], None]) -> None:
        self._claims = claims
        self._on_fault = on_fault
        self._held: set[int] = set()
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeps leases", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._claims.database.close()

    def hold(self, ids: Iterable[int]) -> None:
        """Takes records into the hand."""
        with self._guard:
            self._held.update(ids)

    def drop(self, ids: Iterable[int]) -> None:
        """Lets records go; their claims are the caller's to end."""
        with self._guard:
            self._held.difference_update(ids)

    def held(self) -> set[int]:
        """What is in hand."""
        with self._guard:
            return set(self._held)

    def _keep(self) -> None:
        while not self._ended.wait(self._claims.lease_s / 3):
            if not (held := self.held()):
                continue
            try:
                lost = held - self._claims.renew(held)
            except VideoAssetsError as error:
                self._on_fault(str(error))
                continue
            # Those that were let go meanwhile are not lost.
            if lost := lost & self.held():
                self._on_fault(f"{len(lost)} records were taken over by others: their leases had ended")
                self.drop(lost)

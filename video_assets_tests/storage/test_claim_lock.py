"""Locks made of claims: what happens when a holder dies, sleeps or loses its claim."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from video_assets.storage import claim_lock
from video_assets.storage.claim_lock import Claims, hold_claim
from video_assets.storage.object_store import LockTimeout, ObjectInfo, StoreUnavailable


class ClaimsInMemory(Claims):
    """A bucket whose writes are listed as soon as they are done."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.frozen = False

    def put(self, key: str, data: bytes) -> None:
        if self.frozen:
            raise StoreUnavailable("bucket", "cannot be reached")
        self.objects[key] = data

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        now = datetime(2026, 1, 3, tzinfo=UTC)
        keys = sorted(key for key in list(self.objects) if key.startswith(prefix))
        return iter([ObjectInfo(key, 1, self.objects[key].decode(), now) for key in keys])

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> ClaimsInMemory:
    monkeypatch.setattr(claim_lock, "RENEWAL_S", 0.05)
    monkeypatch.setattr(claim_lock, "LEASE_S", 0.5)
    return ClaimsInMemory()


def test_a_live_holder_keeps_its_lock_longer_than_the_lease(claims: ClaimsInMemory) -> None:
    with (
        hold_claim(claims, "s3://bucket", "clips", 0),
        pytest.raises(LockTimeout, match="clips"),
        hold_claim(claims, "s3://bucket", "clips", 1.2),
    ):
        pytest.fail("two holders")
    assert not claims.objects


def test_a_dead_holders_claim_ends_with_its_lease(claims: ClaimsInMemory) -> None:
    claims.put(claim_lock._folder("clips") + "dead", b"17")
    start = time.monotonic()
    with hold_claim(claims, "s3://bucket", "clips", 10):
        assert time.monotonic() - start > 0.5
    assert not claims.objects


def _lose(claims: ClaimsInMemory, error: Exception | None = None) -> None:
    with hold_claim(claims, "s3://bucket", "clips", 0):
        claims.objects.clear()
        claims.frozen = True
        if error:
            raise error


def test_a_holder_that_lost_its_claim_is_told(claims: ClaimsInMemory) -> None:
    with pytest.raises(StoreUnavailable, match=r"clips.*was lost.*Rerun"):
        _lose(claims)
    assert not claims.objects


def test_an_error_of_the_block_is_not_hidden_by_a_lost_claim(claims: ClaimsInMemory) -> None:
    with pytest.raises(ConnectionError, match="the source went away"):
        _lose(claims, ConnectionError("the source went away"))


def test_many_contenders_never_meet(claims: ClaimsInMemory) -> None:
    inside, met, done = [], [], []

    def contend() -> None:
        for _ in range(5):
            with hold_claim(claims, "s3://bucket", "clips", 60):
                inside.append(1)
                met.extend([1] * (len(inside) > 1))
                time.sleep(0.001)
                inside.pop()
        done.append(1)

    threads = [threading.Thread(target=contend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not met
    assert len(done) == 6
    assert not claims.objects

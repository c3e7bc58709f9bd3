"""The S3 store keeps the contract of every store, against a real S3 server process."""

from __future__ import annotations

import pytest

from video_assets.storage import claim_lock
from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store
from video_assets_tests.storage.object_store_contract import ObjectStoreContract


class TestS3Store(ObjectStoreContract):
    @pytest.fixture
    def store(self, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
        # Who waits for a dead holder here waits for less than a minute; a live one still renews its claim in time.
        monkeypatch.setattr(claim_lock, "LEASE_S", 7.0)
        return open_store(s3_root)

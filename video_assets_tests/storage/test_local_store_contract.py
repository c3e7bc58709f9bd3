"""The local store keeps the contract of every store."""

from __future__ import annotations

from pathlib import Path

import pytest

from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store
from video_assets_tests.storage.object_store_contract import ObjectStoreContract


class TestLocalStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return open_store(str(tmp_path / "a store"), create=True)

"""The OSS store keeps the contract of every store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store
from video_assets_tests.servers.oss_environment import oss_environment
from video_assets_tests.storage.object_store_contract import ObjectStoreContract


class TestOssStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
        with oss_environment(monkeypatch) as server:
            yield open_store(f"oss://{server.endpoint}/fleet/a store")

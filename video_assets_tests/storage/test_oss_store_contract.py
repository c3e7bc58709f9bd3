"""The OSS store keeps the contract of every store, and what only OSS can break."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from video_assets.storage.object_store import ObjectStore
from video_assets.storage.oss_client import close_connections
from video_assets.storage.registry import open_store
from video_assets_tests.servers.oss_server import OssServer
from video_assets_tests.servers.oss_server_signature import Account
from video_assets_tests.storage.object_store_contract import ObjectStoreContract

KEY_ID, SECRET = "LTAI-test-key-id", "secret-of-the-test"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[OssServer]:
    with OssServer(accounts={KEY_ID: Account(SECRET)}) as server:
        yield server


@pytest.fixture
def server(shared_server: OssServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[OssServer]:
    """An empty server that this process and its children have the keys of."""
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.setenv("OSS_REGION", shared_server.region)
    shared_server.reset()
    yield shared_server
    close_connections()


class TestOssStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, server: OssServer) -> ObjectStore:
        return open_store(f"oss://{server.endpoint}/fleet/a store")

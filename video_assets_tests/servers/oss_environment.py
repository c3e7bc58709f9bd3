"""An OSS test server, and an environment whose keys are good for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from video_assets.storage.oss_client import close_connections
from video_assets_tests.servers.oss_server import OssServer
from video_assets_tests.servers.oss_server_signature import Account

KEY_ID, SECRET = "LTAI-test-key-id", "secret-of-the-test"


@contextmanager
def oss_environment(monkeypatch: pytest.MonkeyPatch, buckets: Iterable[str] = ("fleet",)) -> Iterator[OssServer]:
    """A server that this process and its children have the keys of."""
    with OssServer(buckets, {KEY_ID: Account(SECRET)}) as server:
        monkeypatch.setenv("OSS_ACCESS_KEY_ID", KEY_ID)
        monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", SECRET)
        monkeypatch.setenv("OSS_REGION", server.region)
        close_connections()
        yield server
        close_connections()

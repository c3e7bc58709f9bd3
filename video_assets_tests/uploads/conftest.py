"""An OSS server of the tests, reached through a proxy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store
from video_assets.uploads import patience
from video_assets_tests.servers.oss_environment import oss_environment
from video_assets_tests.servers.oss_server import OssServer
from video_assets_tests.servers.oss_server_bucket import Bucket
from video_assets_tests.servers.tcp_proxy import TcpProxy


@dataclass
class Depot:
    """A server, the proxy before it, the URI that leads through it, and a store that does not."""

    server: OssServer
    proxy: TcpProxy
    uri: str
    store: ObjectStore

    @property
    def bucket(self) -> Bucket:
        """What the server keeps."""
        return self.server.buckets["fleet"]

    def pending(self) -> list[str]:
        """The keys of uploads under way."""
        return sorted(upload.key for upload in self.bucket.uploads.values())


@pytest.fixture
def depot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Depot]:
    with oss_environment(monkeypatch) as server, TcpProxy(f"http://{server.endpoint}") as proxy:
        store = open_store(f"oss://{server.endpoint}/fleet/up")
        yield Depot(server, proxy, f"oss://127.0.0.1:{proxy.port}/fleet/up", store)


@pytest.fixture(autouse=True)
def _locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Watchers leave the files of their locks where a test's other files go."""
    place = str(tmp_path_factory.mktemp("locks"))
    monkeypatch.setenv("TMPDIR", place)
    monkeypatch.setattr(tempfile, "tempdir", place)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "videos"
    path.mkdir()
    return path


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for what is away are short."""
    monkeypatch.setattr(patience, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(patience, "LONGEST_WAIT_S", 0.3)

"""Makes the asserts of the contract suite tell what they compared; S3 through a proxy that makes faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from video_assets.storage.s3_clients import connect
from video_assets_tests.servers.fault_proxy import FaultProxy
from video_assets_tests.servers.s3_server import make_bucket

pytest.register_assert_rewrite("video_assets_tests.storage.object_store_contract")


@pytest.fixture(scope="module")
def running_proxy(s3_url: str) -> Iterator[FaultProxy]:
    with FaultProxy(s3_url) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3_url: str, s3_bucket: str) -> Iterator[str]:
    """A bucket of the test's own; nothing that was learned about clients here stays."""
    connect.cache_clear()
    yield make_bucket(s3_url)
    connect.cache_clear()


@pytest.fixture
def proxy(running_proxy: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch) -> FaultProxy:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running_proxy.url)
    running_proxy.faults = []
    running_proxy.requests.clear()
    return running_proxy

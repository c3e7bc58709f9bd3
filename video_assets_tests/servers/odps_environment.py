"""A MaxCompute test server, and settings whose keys are good for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from video_assets_tests.servers.odps_server import PROJECT, REGION, OdpsServer
from video_assets_tests.servers.odps_server_signature import Account

ACCESS_ID, SECRET = "LTAI-odps-test-id", "secret-of-the-odps-test"


@contextmanager
def odps_server() -> Iterator[OdpsServer]:
    """A server that knows ACCESS_ID."""
    with OdpsServer({ACCESS_ID: Account(SECRET)}) as server:
        yield server
    assert not server.crashes, server.crashes[0]


def odps_variables(server: OdpsServer) -> dict[str, str]:
    """The environment of a process that uses the server."""
    return {
        "ODPS_ACCESS_ID": ACCESS_ID,
        "ODPS_ACCESS_KEY": SECRET,
        "ODPS_PROJECT": PROJECT,
        "ODPS_ENDPOINT": server.endpoint,
        "ODPS_REGION_NAME": REGION,
    }


def odps_settings(server: OdpsServer) -> dict[str, Any]:
    """The same, as fields of Settings."""
    return {name.lower(): value for name, value in odps_variables(server).items()}

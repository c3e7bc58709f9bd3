"""Tables on a MaxCompute test server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from video_assets.settings import Settings
from video_assets.table_store.odps import OdpsTables
from video_assets.table_store.registry import open_tables
from video_assets_tests.servers.odps_environment import odps_settings
from video_assets_tests.servers.odps_server import OdpsServer
from video_assets_tests.table_store.table_store_contract import Opener


def open_odps_tables(**fields: Any) -> OdpsTables:
    """The tables that these settings describe."""
    tables = open_tables(Settings(tables="odps", **fields), create=True)
    assert isinstance(tables, OdpsTables)
    return tables


def opener_of(server: OdpsServer, folder: Path, **changes: Any) -> Opener:
    """Opens tables on the server, with a store in the folder."""
    return partial(open_odps_tables, **{**odps_settings(server), "store": str(folder / "store"), **changes})

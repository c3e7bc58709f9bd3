"""Tables in MaxCompute keep what every TableStore keeps, under both signatures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from video_assets_tests.servers.odps_environment import odps_server
from video_assets_tests.table_store.odps_tables import opener_of
from video_assets_tests.table_store.table_store_contract import Opener, TableStoreContract


class TestOdpsTables(TableStoreContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Iterator[Opener]:
        with odps_server() as server:
            yield opener_of(server, tmp_path)

"""What assets are given: the settings, and the tables in the deployment's store. Checked when the location loads."""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg

from video_assets.defs.odps_resource import OdpsResource
from video_assets.io_managers.table_io_manager import TableIOManager
from video_assets.settings import Settings, load_settings
from video_assets.storage.registry import check_uri, open_store
from video_assets.table_store.odps_handle import open_handle
from video_assets.table_store.registry import open_tables
from video_assets.table_store.table_store import TableStore


@cache
def deployment() -> tuple[Settings, TableStore]:
    """The settings of this process and its tables. A wrong setting or an unwritable store stops the load here.

    The source is not touched: one that is not there for a while must not take the code location with it.
    """
    settings = load_settings()
    for place in (settings.source, settings.inventory, settings.video_list):
        if place is not None:
            check_uri(place)
    store = open_store(settings.store, create=True)
    with store.lock("load", timeout_s=60):
        pass  # A lock is the least that needs a store which can be written to.
    return settings, open_tables(settings)


def resources() -> dict[str, Any]:
    """The resources of the code location. None holds a secret in its configuration."""
    found, stored = deployment()
    store_uri = open_store(found.store).uri

    # Dagster shows the functions' names as the resources' types.
    @dg.resource(description="The deployment's settings, from the environment and .env: VIDEO_ASSETS_…")
    def settings(_: dg.InitResourceContext) -> Settings:
        return found

    @dg.resource(description=f"Tables ({found.tables}), by partition; item records are in {store_uri}")
    def table_store(_: dg.InitResourceContext) -> TableStore:
        return stored

    @dg.io_manager(description="Commits what an asset makes, a partition at a time, and reads what is upstream.")
    def table_io_manager(_: dg.InitResourceContext) -> TableIOManager:
        return TableIOManager(stored)

    given: dict[str, Any] = {"settings": settings, "tables": table_store, "io_manager": table_io_manager}
    if found.flat_table is not None:
        open_handle(found)  # What is missing is told when the location loads.
        given["odps"] = OdpsResource(project=str(found.odps_project), endpoint=str(found.odps_endpoint))
    return given

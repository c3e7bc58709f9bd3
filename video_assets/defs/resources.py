"""What assets are given: the settings, and the tables in the deployment's store. Checked when the location loads."""

from __future__ import annotations

from functools import cache

from video_assets.io_managers.table_io_manager import TableIOManager
from video_assets.settings import Settings, load_settings
from video_assets.storage.registry import check_uri, open_store
from video_assets.table_store.parquet import ParquetTables


@cache
def deployment() -> tuple[Settings, ParquetTables]:
    """The settings of this process and its tables. A wrong setting or an unwritable store stops the load here.

    The source is not touched: one that is not there for a while must not take the code location with it.
    """
    settings = load_settings()
    if settings.source is not None:
        check_uri(settings.source)
    store = open_store(settings.store, create=True)
    with store.lock("load", timeout_s=60):
        pass  # A lock is the least that needs a store which can be written to.
    return settings, ParquetTables(store)


def resources() -> dict[str, object]:
    """The resources of the code location. None holds a secret in its configuration."""
    settings, tables = deployment()
    return {"settings": settings, "tables": tables, "io_manager": TableIOManager(tables)}

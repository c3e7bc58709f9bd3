"""From the settings to the tables of a deployment."""

from __future__ import annotations

from video_assets.settings import Settings, variable
from video_assets.settings_faults import SettingsError
from video_assets.storage.registry import open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import TableStore


def open_tables(settings: Settings, *, create: bool = False) -> TableStore:
    """The tables of a deployment, where VIDEO_ASSETS_TABLES says. Item records and blobs are in its store all the same.

    Args:
        settings: the deployment's.
        create: make the folder of a `file://` store where it is missing. Without it nothing is created.

    Raises:
        StoreError: the store cannot be opened.
        SettingsError: what the tables need is not set.
    """
    if settings.tables == "odps":
        raise SettingsError(variable("tables"), "odps is not there yet", "Set it to parquet.")
    return ParquetTables(open_store(settings.store, create=create))

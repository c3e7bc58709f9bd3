"""From the settings to the tables of a deployment."""

from __future__ import annotations

from functools import partial

from video_assets.settings import Settings, is_missing_folder, variable
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.registry import open_store
from video_assets.table_store.odps import OdpsTables
from video_assets.table_store.odps_handle import open_handle
from video_assets.table_store.parquet import ParquetTables
from video_assets.table_store.table_store import TableStore
from video_assets.tables import VIDEO_MANIFEST, Table


def open_tables(settings: Settings, *, create: bool = False) -> TableStore:
    """The tables of a deployment, where VIDEO_ASSETS_TABLES says. Item records and blobs are in its store all the same.

    Args:
        settings: the deployment's.
        create: make the folder of a `file://` store where it is missing. Without it nothing is created.

    Raises:
        StoreError: the store cannot be opened.
        SettingsError: what the tables need is not set.
    """
    if not create and is_missing_folder(settings.store):
        cause = f"{settings.store} is not there: nothing was made yet, or its disk is not mounted"
        raise StoreUnavailable(
            variable("store"), cause, "Run `video-assets up`, mount the disk, or correct the setting."
        )
    store = open_store(settings.store, create=create)
    if settings.tables == "parquet":
        return ParquetTables(store)
    lifecycles = {VIDEO_MANIFEST.name: settings.manifest_lifecycle}
    return OdpsTables(open_handle(settings), store, partial(odps_name, settings), lifecycles)


def odps_name(settings: Settings, table: Table) -> str:
    """What a table is called in ODPS."""
    own = settings.video_input_table if table is VIDEO_MANIFEST else None
    return own or settings.table_prefix + table.name

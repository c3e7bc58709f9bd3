"""MaxCompute for assets that write to it by themselves."""

from __future__ import annotations

from typing import Any

import dagster as dg

from video_assets.settings import load_settings
from video_assets.table_store.odps_handle import open_handle


class OdpsResource(dg.ConfigurableResource[Any]):
    """A project of MaxCompute. Its keys are read from the environment when it is used, and are in no configuration."""

    project: str
    endpoint: str

    def handle(self) -> Any:
        """The handle (`odps.ODPS`); raises SettingsError where a key is missing."""
        named = {"odps_project": self.project, "odps_endpoint": self.endpoint}
        return open_handle(load_settings().model_copy(update=named))

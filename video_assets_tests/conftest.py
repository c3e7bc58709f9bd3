"""What every test stands on: no settings of the machine, and a code location that loads in an empty place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

for _name in [name for name in os.environ if name.startswith(("VIDEO_ASSETS_", "OSS_")) or name == "DAGSTER_HOME"]:
    del os.environ[_name]
# The code location is loaded once, when a test module imports it; its own store is never written to.
_LOADED_IN = tempfile.TemporaryDirectory(prefix="video_assets_tests_")
os.environ["VIDEO_ASSETS_STORE"] = str(Path(_LOADED_IN.name) / "store")
os.environ["VIDEO_ASSETS_INDEX"] = str(Path(_LOADED_IN.name) / "index")


def pytest_sessionfinish(session: pytest.Session) -> None:
    _LOADED_IN.cleanup()

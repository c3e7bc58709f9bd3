"""Videos shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `made_video` fills, once per session."""
    return tmp_path_factory.mktemp("videos")

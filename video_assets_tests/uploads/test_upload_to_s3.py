"""The same watcher before a real S3 server process, in parts of the least size that S3 takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from video_assets.storage.object_store import MIN_PART_BYTES
from video_assets.storage.s3_clients import connect
from video_assets_tests.servers.s3_server import boto_client
from video_assets_tests.servers.tcp_proxy import TcpProxy
from video_assets_tests.uploads.watching import command, kill, movie, until, watching

NAME = "front/a b+é.mp4"
SIZE = 4 * MIN_PART_BYTES + 1_000

POINTS = {
    "in the middle of a part": {"hold_after": 2 * MIN_PART_BYTES + 50_000},
    "at the end": {"hold_at": rb"<CompleteMultipartUpload"},
    "before the record": {"hold_at": rb"PUT /[^ ]*\.mp4\.json"},
}


@pytest.mark.parametrize(
    "point", [name if name == "before the record" else pytest.param(name, marks=pytest.mark.slow) for name in POINTS]
)
def test_a_killed_watcher_is_gone_on_with(
    s3_url: str, s3_root: str, folder: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    bucket, _, prefix = s3_root.removeprefix("s3://").partition("/")
    video = folder / NAME
    video.parent.mkdir()
    video.write_bytes(movie(SIZE))
    with TcpProxy(s3_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        connect.cache_clear()
        for name, value in POINTS[point].items():
            setattr(proxy, name, value)
        try:
            with command(folder, s3_root, "--connections", "2", part_bytes=MIN_PART_BYTES) as process:
                assert proxy.held.wait(60)
                kill(process)
            proxy.release()
            with watching(folder, s3_root, connections=2, part_bytes=MIN_PART_BYTES) as watcher:
                until(lambda: watcher.tools.tally.files_done == 1)
        finally:
            connect.cache_clear()
        assert proxy.bytes_up <= SIZE + 2 * MIN_PART_BYTES + 256 * 1024
    client = boto_client(s3_url)
    assert client.get_object(Bucket=bucket, Key=f"{prefix}/{NAME}")["Body"].read() == video.read_bytes()
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
    assert client.head_object(Bucket=bucket, Key=f"{prefix}/{NAME}.json")["ContentLength"] > 0

"""The same watcher before a real S3 server process, in parts of the least size that S3 takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from video_assets.storage.object_store import MIN_PART_BYTES
from video_assets.storage.registry import open_store
from video_assets.storage.s3_clients import connect
from video_assets_tests.servers.fault_proxy import Fault, FaultProxy
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


@pytest.fixture
def proxy(s3_url: str, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(s3_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        connect.cache_clear()
        yield proxy
        connect.cache_clear()


@pytest.fixture
def video(folder: Path) -> Path:
    """A file of two parts."""
    path = folder / "080000.mp4"
    path.write_bytes(movie(MIN_PART_BYTES + 1_000))
    return path


def record_of(folder: Path, uri: str, **options: Any) -> dict[str, Any]:
    """Watches until the folder's file is uploaded; gives its record."""
    with watching(folder, uri, connections=1, part_bytes=MIN_PART_BYTES, **options) as watcher:
        until(lambda: watcher.tools.tally.files_done == 1)
    record: dict[str, Any] = json.loads(open_store(uri).get("080000.mp4.json"))
    return record


@pytest.mark.parametrize("is_same", [True, False], ids=["the file's", "other bytes"])
def test_a_part_in_the_store_is_held_against_the_file(
    proxy: FaultProxy, s3_root: str, folder: Path, video: Path, is_same: bool
) -> None:
    data, store = video.read_bytes(), open_store(s3_root)
    first = data[:MIN_PART_BYTES]
    begun = store.uploads.begin(video.name, part_bytes=MIN_PART_BYTES)
    begun.send(1, first if is_same else first[:-1] + b"?")
    proxy.requests.clear()
    record = record_of(folder, s3_root)
    assert store.get(video.name) == data
    assert list(store.uploads.pending()) == []
    sent = [request for request in proxy.requests if "partNumber=" in request]
    assert len(sent) == (1 if is_same else 2)
    assert all(begun.upload_id in request for request in sent) is is_same
    assert [part["checksum"] for part in record["parts"]] == [
        store.uploads.checksum(piece) for piece in (first, data[MIN_PART_BYTES:])
    ]
    assert record["confirmed"] is True


def test_before_a_store_that_does_not_know_the_checksum_files_are_held_against_md5s(
    proxy: FaultProxy, s3_root: str, folder: Path, video: Path
) -> None:
    data, store = video.read_bytes(), open_store(s3_root)
    first = data[:MIN_PART_BYTES]
    proxy.faults = [
        Fault("partNumber=2", corrupt_sent_at=7, forgets="x-amz-(sdk-)?checksum-.*"),
        Fault("", times=1000, forgets="x-amz-(sdk-)?checksum-.*"),
    ]
    begun = store.uploads.begin(video.name, part_bytes=MIN_PART_BYTES)
    begun.send(1, first)
    record = record_of(folder, s3_root, is_deleted_after=True)
    assert store.get(video.name) == data
    assert sum("partNumber=1" in request for request in proxy.requests) == 1
    assert sum("partNumber=2" in request for request in proxy.requests) == 2
    assert [part["checksum"] for part in record["parts"]] == [
        store.uploads.checksum(piece, "md5") for piece in (first, data[MIN_PART_BYTES:])
    ]
    assert record["confirmed"] is True
    assert not video.exists()


def test_a_file_that_went_up_by_md5s_is_not_sent_again(
    proxy: FaultProxy, s3_root: str, folder: Path, video: Path
) -> None:
    data, store = video.read_bytes(), open_store(s3_root)
    proxy.faults = [Fault("", times=1000, forgets="x-amz-(sdk-)?checksum-.*")]
    begun = store.uploads.begin(video.name, part_bytes=MIN_PART_BYTES)
    begun.send(1, data[:MIN_PART_BYTES])
    begun.send(2, data[MIN_PART_BYTES:])
    etag = begun.complete().etag
    proxy.faults = []
    proxy.requests.clear()
    record = record_of(folder, s3_root)
    assert not [request for request in proxy.requests if "partNumber=" in request]
    assert (record["etag"], record["confirmed"]) == (etag, True)
    assert [part["checksum"][:4] for part in record["parts"]] == ["md5:", "md5:"]

"""What goes wrong between a store and S3: it is mended, or it stops with an error that says what to do."""

from __future__ import annotations

import base64
import hashlib
import threading
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from video_assets.storage.crc import Crc
from video_assets.storage.local_store import LocalStore
from video_assets.storage.object_store import (
    InvalidUri,
    ObjectChanged,
    ObjectNotFound,
    ObjectStore,
    ObjectUnreadable,
    StoreError,
    StoreUnavailable,
)
from video_assets.storage.parallel_read import spans_of
from video_assets.storage.registry import open_store
from video_assets.storage.s3_checksums import ask_expected
from video_assets.storage.s3_clients import connect
from video_assets.storage.s3_reads import SPANS_AHEAD, CorruptedRead
from video_assets_tests.servers.fault_proxy import Fault, FaultProxy
from video_assets_tests.servers.s3_server import SECRET_KEY

DATA = bytes(range(256)) * 20_000
SPAN = 300_000


@pytest.fixture
def store(proxy: FaultProxy, bucket: str) -> ObjectStore:
    store = open_store(f"s3://{bucket}/videos")
    store.put("a.mp4", DATA)
    return store


def test_a_cut_stream_goes_on_where_it_broke(proxy: FaultProxy, store: ObjectStore) -> None:
    proxy.faults = [Fault("GET .*a.mp4", times=3, cut_at=1_500_000)]
    assert b"".join(store.stream("a.mp4")) == DATA
    assert proxy.faults[0].times == 0


def test_a_stream_that_was_cut_never_goes_on_with_another_version(proxy: FaultProxy, store: ObjectStore) -> None:
    proxy.faults = [Fault("GET .*a.mp4", cut_at=2_500_000)]
    stream = store.stream("a.mp4")
    read = next(stream)
    store.put("a.mp4", DATA[::-1])
    with pytest.raises(ObjectChanged, match=r"a\.mp4.*version"):
        read += b"".join(stream)
    assert DATA.startswith(read)


def test_a_cut_range_is_whole(proxy: FaultProxy, store: ObjectStore) -> None:
    proxy.faults = [Fault("GET .*a.mp4", times=2, cut_at=1000)]
    assert store.get("a.mp4", start=777, length=3_000_000) == DATA[777:3_000_777]


def test_a_stream_that_breaks_for_ever_stops(proxy: FaultProxy, store: ObjectStore) -> None:
    proxy.faults = [Fault("GET .*a.mp4", times=1000, cut_at=0)]
    with pytest.raises(StoreUnavailable, match="stopped answering"):
        list(store.stream("a.mp4"))


def test_a_changed_byte_is_found_out_and_the_object_read_again(proxy: FaultProxy, store: ObjectStore) -> None:
    proxy.faults = [Fault("GET .*a.mp4", corrupt_at=1_000_000)]
    assert store.get("a.mp4") == DATA


def test_a_changed_byte_ends_a_stream_with_an_error(proxy: FaultProxy, store: ObjectStore) -> None:
    proxy.faults = [Fault("GET .*a.mp4", corrupt_at=1_000_000)]
    with pytest.raises(CorruptedRead, match=r"a\.mp4.*etag"):
        list(store.stream("a.mp4"))


def test_a_copy_of_a_changed_stream_publishes_nothing(proxy: FaultProxy, store: ObjectStore) -> None:
    proxy.faults = [Fault("GET .*a.mp4", corrupt_at=1_000_000)]
    with pytest.raises(CorruptedRead):
        store.put("b.mp4", store.stream("a.mp4"))
    assert [info.key for info in store.list()] == ["a.mp4"]


@pytest.fixture
def large(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The bytes of the object `large`: five requests' worth of `SPAN` bytes, and a little."""
    monkeypatch.setattr("video_assets.storage.s3_reads.SPAN_BYTES", SPAN)
    data = bytes(range(251)) * (5 * SPAN // 251 + 1)
    store.put("large", data)
    return data


def test_a_large_object_comes_by_several_requests_in_order(proxy: FaultProxy, store: ObjectStore, large: bytes) -> None:
    proxy.requests.clear()
    assert b"".join(store.stream("large")) == large
    assert len([request for request in proxy.requests if "large" in request]) == 6
    assert {len(chunk) for chunk in list(store.stream("large", chunk_bytes=100_000))[:-1]} == {100_000}


def test_a_large_object_is_whole_whichever_request_is_cut(proxy: FaultProxy, store: ObjectStore, large: bytes) -> None:
    proxy.faults = [Fault("GET .*large", times=5, cut_at=200_000)]
    assert b"".join(store.stream("large")) == large
    assert proxy.faults[0].times == 0


def test_a_large_object_is_of_one_version(store: ObjectStore, large: bytes) -> None:
    stream = store.stream("large", chunk_bytes=SPAN // 2)
    read = next(stream)
    store.put("large", large[::-1])
    rest: list[bytes] = []
    with pytest.raises(ObjectChanged, match=r"large.*version"):
        rest.extend(stream)
    assert large.startswith(read + b"".join(rest))


def test_a_read_that_is_left_stops_its_requests(proxy: FaultProxy, store: ObjectStore, large: bytes) -> None:
    proxy.requests.clear()
    stream = store.stream("large", chunk_bytes=SPAN // 2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(proxy.requests) <= 1 + SPANS_AHEAD
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("s3 read")]


@pytest.fixture
def disk(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


@pytest.fixture
def parted(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The bytes of the object `parted`: so many that a copy to a disk takes six requests and asks for a checksum."""
    for name in ("FIRST_BYTES", "LEAST_SPAN_BYTES", "MOST_SPAN_BYTES", "ASKED_BYTES"):
        monkeypatch.setattr(f"video_assets.storage.s3_reads.{name}", SPAN)
    data = bytes(range(251)) * (5 * SPAN // 251 + 1)
    store.put("parted", data)
    return data


def test_a_copy_to_a_disk_takes_several_requests(
    proxy: FaultProxy, store: ObjectStore, disk: LocalStore, parted: bytes
) -> None:
    proxy.requests.clear()
    digest = hashlib.sha256()
    disk.put_from("copy", store, "parted", digests=[digest])
    assert disk.get("copy") == parted
    assert digest.digest() == hashlib.sha256(parted).digest()
    assert sorted(request.split()[0] for request in proxy.requests) == ["GET"] * 6 + ["HEAD"]


def test_a_copy_to_a_disk_is_whole_whichever_request_is_cut(
    proxy: FaultProxy, store: ObjectStore, disk: LocalStore, parted: bytes
) -> None:
    proxy.faults = [Fault("GET .*parted", times=5, cut_at=200_000)]
    disk.put_from("copy", store, "parted")
    assert disk.get("copy") == parted
    assert proxy.faults[0].times == 0


def test_a_copy_to_a_disk_is_of_one_version(
    store: ObjectStore, disk: LocalStore, parted: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwritten(*args: int, **bounds: int) -> list[range]:
        """Called when the first request was answered, and before the others are made."""
        store.put("parted", parted[::-1])
        return spans_of(*args, **bounds)

    monkeypatch.setattr("video_assets.storage.s3_reads.spans_of", overwritten)
    with pytest.raises(ObjectChanged, match=r"parted.*version"):
        disk.put_from("copy", store, "parted")
    assert not list(disk.list())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("span")]


def test_a_copy_to_a_disk_that_breaks_for_ever_stops(
    proxy: FaultProxy, store: ObjectStore, disk: LocalStore, parted: bytes
) -> None:
    proxy.faults = [Fault("GET .*parted", times=1000, cut_at=0)]
    with pytest.raises(StoreUnavailable, match="stopped answering"):
        disk.put_from("copy", store, "parted")
    assert not list(disk.list())
    assert disk.sweep() == 0


CHECKSUMS = ["CRC64-NVME", "CRC32", "SHA256", "SHA1"]
"""All that the server of the tests has."""


def checksum_of(name: str, data: bytes) -> str:
    digest: Any = hashlib.new(name) if name.startswith("SHA") else Crc(cast("Any", name))
    digest.update(data)
    return base64.b64encode(digest.digest()).decode()


@pytest.mark.parametrize("name", CHECKSUMS)
def test_a_copy_to_a_disk_is_held_against_the_checksum_that_s3_has(
    proxy: FaultProxy, store: ObjectStore, disk: LocalStore, parted: bytes, bucket: str, name: str
) -> None:
    parameter = {f"Checksum{name.replace('-', '')}": checksum_of(name, parted)}
    boto = connect(bucket).boto
    boto.put_object(Bucket=bucket, Key="videos/summed", Body=parted, **parameter)
    head = boto.head_object(Bucket=bucket, Key="videos/summed", ChecksumMode="ENABLED")
    expected = ask_expected(bucket, "videos/summed", head["ETag"].strip('"'))
    assert expected is not None
    assert expected.name == name.replace("-", "")
    disk.put_from("copy", store, "summed")
    assert disk.get("copy") == parted
    proxy.faults = [Fault("GET .*summed", corrupt_at=100_000)]
    with pytest.raises(CorruptedRead, match=rf"summed.*{expected.name}"):
        disk.put_from("corrupt", store, "summed")
    assert [info.key for info in disk.list()] == ["copy"]


@pytest.mark.parametrize("key", ["parted", "a.mp4"])
def test_a_copy_to_a_disk_is_held_against_an_etag_that_is_an_md5(
    proxy: FaultProxy, store: ObjectStore, disk: LocalStore, parted: bytes, key: str
) -> None:
    proxy.faults = [Fault(f"GET .*{key}", corrupt_at=100_000)]
    with pytest.raises(CorruptedRead, match=rf"{key}.*MD5"):
        disk.put_from("copy", store, key)
    assert not list(disk.list())


def test_a_store_that_refuses_to_be_asked_for_a_checksum_is_copied_from(
    proxy: FaultProxy, store: ObjectStore, disk: LocalStore, parted: bytes
) -> None:
    proxy.faults = [Fault("", times=1000, status=400, code="InvalidArgument", header="x-amz-checksum-mode")]
    disk.put_from("copy", store, "parted")
    assert disk.get("copy") == parted


def test_memory_does_not_grow_with_what_is_copied_to_a_disk(bucket: str, disk: LocalStore) -> None:
    # Not by the proxy, which holds whole answers in this process.
    store = open_store(f"s3://{bucket}")
    store.put("big", (DATA for _ in range(14)))
    tracemalloc.start()
    try:
        disk.put_from("copy", store, "big", digests=[hashlib.sha256()])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert disk.head("copy").size_bytes == 14 * len(DATA)
    assert peak < 16_000_000


def test_a_listing_that_is_cut_is_asked_again(proxy: FaultProxy, store: ObjectStore) -> None:
    proxy.faults = [Fault("GET .*list-type=2", times=2, cut_at=200)]
    assert [info.key for info in store.list()] == ["a.mp4"]


def test_pages_are_asked_for_without_boto3_which_takes_over_where_one_fails(
    proxy: FaultProxy, store: ObjectStore, bucket: str
) -> None:
    store.put("Ordner é+/b c&d.mp4", b"")
    by_boto: list[str] = []
    connect(bucket).boto.meta.events.register("before-send.s3.ListObjectsV2", lambda **_: by_boto.append("asked"))
    for fault in (None, Fault("GET .*list-type=2", status=503, code="SlowDown"), Fault("GET .*list-type=2", cut_at=9)):
        proxy.faults = [fault] if fault else []
        assert [info.key for info in store.list()] == ["Ordner é+/b c&d.mp4", "a.mp4"]
        assert [info.key for info in store.list("Ordner é+/")] == ["Ordner é+/b c&d.mp4"]
        assert [info.key for info in store.list(start_after="Ordner é+/b c&d.mp4")] == ["a.mp4"]
        assert len(by_boto) == (fault is not None), "another version of botocore may call its session otherwise"
        by_boto.clear()


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (429, "TooManyRequests"), (500, "InternalError")])
def test_a_busy_server_is_asked_again(proxy: FaultProxy, store: ObjectStore, status: int, code: str) -> None:
    proxy.faults = [Fault("", times=2, status=status, code=code)]
    assert store.get("a.mp4") == DATA
    proxy.faults = [Fault("", times=2, status=status, code=code)]
    assert [info.key for info in store.list()] == ["a.mp4"]
    proxy.faults = [Fault("", times=2, status=status, code=code)]
    assert store.put("b.mp4", b"bytes") == store.head("b.mp4")
    assert proxy.faults[0].times == 0


def test_expired_credentials_are_looked_up_anew(proxy: FaultProxy, store: ObjectStore) -> None:
    for use in (lambda: store.get("a.mp4"), lambda: list(store.list()), lambda: store.head("a.mp4")):
        proxy.faults = [Fault("", status=400, code="ExpiredToken")]
        assert use()


def test_credentials_that_stay_expired_stop_with_the_way_out(proxy: FaultProxy, store: ObjectStore) -> None:
    for use in (lambda: store.get("a.mp4"), lambda: list(store.list()), lambda: store.put("b", b"")):
        proxy.faults = [Fault("", times=1000, status=400, code="ExpiredToken")]
        with pytest.raises(StoreUnavailable, match=r"credentials have expired.*aws sso login"):
            use()


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "InvalidAccessKeyId", "refuses the credentials.*AWS_PROFILE"),
        (403, "SignatureDoesNotMatch", "refuses the credentials.*AWS_PROFILE"),
        (403, "RequestTimeTooSkewed", "clock is wrong"),
        (404, "NoSuchBucket", "there is no such bucket.*AWS_ENDPOINT_URL_S3"),
        (400, "AuthorizationHeaderMalformed", "another region.*AWS_REGION"),
    ],
)
def test_a_refusal_says_which_and_how_to_mend_it(
    proxy: FaultProxy, store: ObjectStore, status: int, code: str, says: str
) -> None:
    for use in (
        lambda: store.get("a.mp4"),
        lambda: list(store.list()),
        lambda: store.put("b", b""),
        lambda: store.head("a.mp4"),
    ):
        proxy.faults = [Fault("", times=1000, status=status, code=code)]
        with pytest.raises(StoreUnavailable, match=rf"(?s)s3://.*{says}") as error:
            use()
        assert SECRET_KEY not in f"{error.value!r} {error.value}"


def test_what_is_not_permitted_is_one_object_or_the_store(proxy: FaultProxy, store: ObjectStore) -> None:
    proxy.faults = [Fault("", times=1000, status=403, code="AccessDenied")]
    with pytest.raises(ObjectUnreadable, match="s3:GetObject"):
        store.get("a.mp4")
    with pytest.raises(ObjectUnreadable, match="s3:GetObject"):
        store.head("a.mp4")
    with pytest.raises(StoreUnavailable, match="s3:ListBucket"):
        list(store.list())
    with pytest.raises(StoreUnavailable, match="s3:PutObject"):
        store.put("b", b"")


def test_a_bucket_in_another_region_is_named(proxy: FaultProxy, store: ObjectStore) -> None:
    headers = {"x-amz-bucket-region": "eu-west-1"}
    proxy.faults = [Fault("", times=1000, status=301, code="PermanentRedirect", headers=headers)]
    for use in (
        lambda: list(store.list()),
        lambda: store.get("a.mp4"),
        lambda: store.head("a.mp4"),
        lambda: store.put("b", b""),
    ):
        with pytest.raises(StoreUnavailable, match=r"lies in the region eu-west-1.*AWS_REGION=eu-west-1"):
            use()


def test_a_bucket_that_is_not_there_is_no_missing_object(proxy: FaultProxy) -> None:
    store = open_store("s3://no-such-bucket-here/videos")
    for use in (
        lambda: store.head("a"),
        lambda: store.get("a"),
        lambda: list(store.list()),
        lambda: store.put("a", b""),
    ):
        with pytest.raises(StoreUnavailable, match=r"s3://no-such-bucket-here.*no such bucket"):
            use()


def test_a_server_that_is_not_there_is_named(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setattr("video_assets.storage.s3_clients.REQUEST_ATTEMPTS", 1)
    connect.cache_clear()
    for use in (lambda: store.get("a.mp4"), lambda: list(store.list())):
        with pytest.raises(StoreUnavailable, match=r"cannot be reached.*AWS_ENDPOINT_URL_S3"):
            use()


def test_no_credentials_at_all_says_what_to_set(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    connect.cache_clear()
    with pytest.raises(StoreUnavailable, match=r"no credentials.*AWS_PROFILE"):
        list(open_store(f"s3://{bucket}").list())


def test_an_upload_that_broke_off_leaves_no_parts(proxy: FaultProxy, store: ObjectStore, bucket: str) -> None:
    proxy.faults = [Fault("PUT .*partNumber=2", times=1000, status=403, code="AccessDenied")]
    with pytest.raises(StoreUnavailable, match="s3:PutObject"):
        store.put("big", (DATA for _ in range(8)))
    assert [info.key for info in store.list()] == ["a.mp4"]
    assert "Uploads" not in connect(bucket).boto.list_multipart_uploads(Bucket=bucket)


def test_a_server_without_conditional_writes_is_found_out(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"s3://{bucket}/elsewhere")
    monkeypatch.setattr("video_assets.storage.s3._keeps_conditions", lambda bucket, prefix: False)
    assert not store.conditional_put
    store.put("a", b"1", if_absent=True)
    with pytest.raises(StoreError, match="exists"):
        store.put("a", b"2", if_absent=True)
    assert store.get("a") == b"1"


def test_a_large_object_goes_up_in_parts_and_comes_back(store: ObjectStore) -> None:
    info = store.put("big", (DATA for _ in range(8)))
    assert info == store.head("big")
    assert info.etag.endswith("-3")
    digest = hashlib.sha256()
    for chunk in store.stream("big"):
        digest.update(chunk)
    assert digest.digest() == hashlib.sha256(DATA * 8).digest()
    with pytest.raises(ObjectNotFound):
        store.head("big2")


def test_the_secret_is_in_no_repr_and_no_log(
    proxy: FaultProxy, store: ObjectStore, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    store.put("b", (DATA for _ in range(8)))
    list(store.list())
    proxy.faults = [Fault("", times=1000, status=403, code="SignatureDoesNotMatch")]
    with pytest.raises(StoreUnavailable) as error:
        store.head("b")
    shown = [repr(store), repr(connect(bucket)), repr(error.value), repr(error.value.__context__), caplog.text]
    assert not [text for text in shown if SECRET_KEY in text]


def test_uploads_left_long_ago_are_aborted_and_no_others(
    store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = store.multipart("left")
    left.write_part(1, b"x")
    assert store.sweep() == 0
    monkeypatch.setattr("video_assets.storage.s3.STALE", timedelta(seconds=-1))
    assert store.sweep() == 1
    with pytest.raises(StoreError):
        left.complete()
    assert "Uploads" not in connect(bucket).boto.list_multipart_uploads(Bucket=bucket)


def test_a_large_copy_goes_in_parts_of_one_version(
    proxy: FaultProxy, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("video_assets.storage.s3.COPY_PART_BYTES", 5 * 1024 * 1024)
    store.put("big", DATA * 2)
    assert store.copy("big", "copied").etag.endswith("-2")
    assert store.get("copied") == DATA * 2
    proxy.faults = [Fault("PUT .*partNumber=2", times=1000, status=412, code="PreconditionFailed")]
    with pytest.raises(ObjectChanged, match="big"):
        store.copy("big", "copied again")
    assert "copied again" not in [info.key for info in store.list()]


def test_a_missing_extra_is_reported_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("video_assets.storage.s3_clients.find_spec", lambda name: None)
    with pytest.raises(InvalidUri, match=r"pip install 'video-assets\[s3\]'"):
        open_store("s3://bucket/prefix")

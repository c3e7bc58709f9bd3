"""What only OSS can do to a store: faults, signatures, tokens, regions, endpoints, versioned buckets."""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
import socket
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import SourceIdentity, clip_id
from video_assets.settings import Settings
from video_assets.storage import oss, oss_client, oss_lock, oss_multipart
from video_assets.storage.local_store import LocalStore
from video_assets.storage.object_store import (
    CommonPrefix,
    InvalidKey,
    InvalidUri,
    LockTimeout,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ObjectStore,
    ObjectUnreadable,
    StoreError,
    StoreUnavailable,
)
from video_assets.storage.oss_uri import OssEndpoint
from video_assets.storage.registry import open_store, split_uri
from video_assets_tests.servers.oss_environment import KEY_ID, SECRET, oss_environment
from video_assets_tests.servers.oss_server import Fault, OssServer
from video_assets_tests.servers.oss_server_bucket import StoredObject
from video_assets_tests.servers.oss_server_signature import Account
from video_assets_tests.storage import store_processes
from video_assets_tests.storage.store_processes import hear, kill, running

DATA = bytes(range(256)) * 12_000
"""3 MB, in which no two places look alike to a checksum."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OssServer]:
    # Back-off is tested by its own test; here it may be short.
    monkeypatch.setattr("alibabacloud_oss_v2.defaults.DEFAULT_BASE_DELAY_S", 0.002)
    with oss_environment(monkeypatch) as server:
        yield server


@pytest.fixture
def store(server: OssServer) -> ObjectStore:
    return open_store(f"oss://{server.endpoint}/fleet/home")


# Faults


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
@pytest.mark.parametrize("operation", ["GetObject", "PutObject", "ListObjectsV2", "HeadObject"])
def test_a_passing_refusal_is_tried_again(server: OssServer, store: ObjectStore, status: int, operation: str) -> None:
    server.faults = [Fault(operation, times=2, status=status, code="ServiceUnavailable")]
    store.put("a", DATA)
    assert store.get("a") == DATA
    assert [info.key for info in store.list()] == ["a"]
    assert server.faults[0].times == 0


@pytest.mark.parametrize(
    "fault", [{"reset": True}, {"lose_answer": True}, {"truncate_at": 100}, {"truncate_at": 0}], ids=str
)
@pytest.mark.parametrize("operation", ["GetObject", "PutObject", "ListObjectsV2", "UploadPart", "AppendObject"])
def test_a_broken_connection_is_tried_again(
    server: OssServer, store: ObjectStore, fault: dict[str, Any], operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oss, "PART_BYTES", 1 << 20)
    server.faults = [Fault(operation, times=2, **fault)]
    with store.lock("name", timeout_s=5):
        store.put("a", [DATA])
        store.put("b", b"small")
    assert store.get("a") == DATA == b"".join(store.stream("a", chunk_bytes=100_000))
    assert store.get("a", start=1_000_000, length=1_000_000) == DATA[1_000_000:2_000_000]
    assert [info.key for info in store.list()] == ["a", "b"]


def test_a_refusal_that_lasts_is_a_stop_that_says_so(server: OssServer, store: ObjectStore) -> None:
    server.faults = [Fault("HeadObject", times=100, status=503, code="ServiceUnavailable")]
    with pytest.raises(StoreUnavailable, match=r"not available.*ServiceUnavailable 503"):
        store.head("a")
    assert server.count("HeadObject") == oss_client.ATTEMPTS


def test_retries_wait_longer_each_time_and_as_long_as_the_server_asks(server: OssServer) -> None:
    from alibabacloud_oss_v2.exceptions import ServiceError

    retryer = oss_client.connection(OssEndpoint(server.endpoint)).client._client._options.retryer
    retryer._backoff_delayer._base_delay = 0.2
    longest = [max(retryer.retry_delay(attempt, ValueError()) for _ in range(200)) for attempt in range(1, 5)]
    assert longest == sorted(longest)
    assert longest[-1] > 1
    fields = {"code": "", "message": "", "request_id": "", "ec": "", "timestamp": "", "request_target": ""}
    busy = ServiceError(status_code=429, headers={"Retry-After": "7"}, **fields)
    assert retryer.retry_delay(1, busy) == 7


def test_a_damaged_whole_read_is_read_again(server: OssServer, store: ObjectStore) -> None:
    store.put("a", DATA)
    server.faults = [Fault("GetObject", times=2, corrupt=True)]
    assert store.get("a") == DATA
    assert server.count("GetObject") == 3


def test_a_damaged_stream_ends_in_an_error_before_its_last_chunk(server: OssServer, store: ObjectStore) -> None:
    store.put("a", DATA)
    server.faults = [Fault("GetObject", corrupt=True)]
    read: list[bytes] = []
    with pytest.raises(ObjectUnreadable, match="CRC64"):
        read.extend(store.stream("a", chunk_bytes=1_000_000))
    assert sum(map(len, read)) < len(DATA)
    assert b"".join(store.stream("a")) == DATA


def test_an_archived_object_is_one_items_fault_and_asked_for_once(server: OssServer, store: ObjectStore) -> None:
    store.put("a", DATA)
    server.faults = [Fault("GetObject", times=9, status=403, code="InvalidObjectState")]
    with pytest.raises(ObjectUnreadable, match="restored first"):
        store.get("a")
    assert server.count("GetObject") == 1


def test_a_stream_goes_on_where_it_broke_without_reading_again(server: OssServer, store: ObjectStore) -> None:
    store.put("a", DATA)
    server.faults = [Fault("GetObject", truncate_at=2_500_000)]
    assert b"".join(store.stream("a", chunk_bytes=1_000_000)) == DATA
    assert server.ranges[-2:] == ["", "bytes=2000000-"]


def test_an_object_changed_while_a_stream_was_broken_is_an_error(server: OssServer, store: ObjectStore) -> None:
    store.put("a", DATA)
    server.faults = [Fault("GetObject", truncate_at=2_500_000)]
    stream = store.stream("a", chunk_bytes=1_000_000)
    next(stream)
    store.put("a", DATA[::-1])
    with pytest.raises(ObjectChanged):
        list(stream)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """Copies to it take four requests."""
    for name in ("LEAST_SPAN_BYTES", "MOST_SPAN_BYTES"):
        monkeypatch.setattr(f"video_assets.storage.oss_read.{name}", -(-len(DATA) // 4))
    return LocalStore(tmp_path)


def test_a_copy_to_a_disk_takes_several_requests_of_one_version(
    server: OssServer, store: ObjectStore, disk: LocalStore
) -> None:
    store.put("a", DATA)
    digest = hashlib.sha256()
    disk.put_from("copy", store, "a", digests=[digest])
    assert disk.get("copy") == DATA
    assert digest.digest() == hashlib.sha256(DATA).digest()
    assert (server.count("HeadObject"), server.count("GetObject")) == (2, 4)
    assert len({*server.ranges[-4:]}) == 4


def test_a_copy_to_a_disk_is_whole_whichever_request_is_cut(
    server: OssServer, store: ObjectStore, disk: LocalStore
) -> None:
    store.put("a", DATA)
    server.faults = [Fault("GetObject", times=3, truncate_at=600_000)]
    disk.put_from("copy", store, "a")
    assert disk.get("copy") == DATA
    assert server.count("GetObject") > 4


def test_a_damaged_copy_to_a_disk_publishes_nothing(server: OssServer, store: ObjectStore, disk: LocalStore) -> None:
    store.put("a", DATA)
    server.faults = [Fault("GetObject", corrupt=True)]
    with pytest.raises(ObjectUnreadable, match="CRC64"):
        disk.put_from("copy", store, "a")
    assert not list(disk.list())


def test_damage_on_the_way_up_is_noticed_and_mended(server: OssServer, store: ObjectStore) -> None:
    server.faults = [Fault("PutObject", times=2, corrupt_upload=True)]
    store.put("a", DATA)
    assert store.get("a") == DATA
    assert server.count("PutObject") == 3


def test_a_part_that_is_damaged_on_the_way_up_is_sent_again(server: OssServer, store: ObjectStore) -> None:
    upload = store.uploads.begin("a", part_bytes=len(DATA))
    server.faults = [Fault("UploadPart", times=2, corrupt_upload=True)]
    upload.send(1, DATA)
    assert server.count("UploadPart") == 3
    server.faults = [Fault("UploadPart", times=3, corrupt_upload=True)]
    with pytest.raises(StoreError, match=r"other bytes than were sent \(CRC64 differs\), 3 times"):
        upload.send(2, DATA)
    assert list(upload.parts) == [1]
    upload.complete()
    assert store.get("a") == DATA


def test_an_object_stored_with_an_encoding_is_read_as_it_lies(server: OssServer, store: ObjectStore) -> None:
    import gzip

    packed = gzip.compress(DATA)
    bucket = server.buckets["fleet"]
    bucket.put("home/a", StoredObject.of(packed, {"content-encoding": "gzip"}), forbid_overwrite=False)
    assert store.get("a") == packed == b"".join(store.stream("a"))
    assert store.get("a", start=5, length=20) == packed[5:25]


# Putting


def test_a_put_whose_answer_was_lost_still_wins_if_absent(server: OssServer, store: ObjectStore) -> None:
    server.faults = [Fault("PutObject", lose_answer=True)]
    info = store.put("a", b"mine", if_absent=True)
    assert info == store.head("a")
    with pytest.raises(ObjectExists):
        store.put("a", b"mine", if_absent=True)


def test_a_completion_whose_answer_was_lost_is_found_done(
    server: OssServer, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oss, "PART_BYTES", 1 << 20)
    server.faults = [Fault("CompleteMultipartUpload", lose_answer=True)]
    info = store.put("a", [DATA])
    assert info == store.head("a")
    assert store.get("a") == DATA


@pytest.mark.parametrize("chunk", [1_000, 700_000, 3_000_000])
def test_a_large_put_goes_up_in_parts_and_is_decided_if_absent(
    server: OssServer, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(oss, "PART_BYTES", 1 << 20)
    chunks = [DATA[start : start + chunk] for start in range(0, len(DATA), chunk)]
    store.put("a", iter(chunks), if_absent=True)
    assert store.get("a") == DATA
    assert server.count("UploadPart") == 3
    with pytest.raises(ObjectExists):
        store.put("a", iter(chunks), if_absent=True)
    assert not server.buckets["fleet"].uploads


def test_an_upload_left_by_a_dead_writer_is_taken_up_where_it_was(store: ObjectStore) -> None:
    assert isinstance(store, oss.OssStore)
    left = store.multipart("a")
    left.write_part(1, DATA[:1_000_000])
    left.write_part(3, DATA[2_000_000:])
    resumed = store.resume_multipart("a", left.upload_id)
    assert resumed.parts == {1: 1_000_000, 3: len(DATA) - 2_000_000}
    resumed.write_part(2, DATA[1_000_000:2_000_000])
    assert resumed.complete() == store.head("a")
    assert store.get("a") == DATA
    with pytest.raises(ObjectNotFound, match="no such upload"):
        store.resume_multipart("a", left.upload_id)


def test_a_bucket_with_versioning_decides_if_absent_in_two_steps(server: OssServer, store: ObjectStore) -> None:
    assert store.conditional_put
    server.buckets["fleet"].versioning = "Enabled"
    versioned = open_store(store.uri)
    assert not versioned.conditional_put
    versioned.put("a", b"first", if_absent=True)
    with pytest.raises(ObjectExists):
        versioned.put("a", b"second", if_absent=True)
    assert versioned.get("a") == b"first"


def test_a_key_too_long_with_its_prefix_is_refused(store: ObjectStore) -> None:
    longest = "/".join(["k" * 200] * 5) + "/" + "k" * (1023 - len("home/") - 1005)
    assert store.put(longest, b"").key == longest
    with pytest.raises(InvalidKey, match="1023 bytes"):
        store.put(longest + "k", b"")


def test_a_sweep_takes_uploads_without_a_sign_of_life_and_no_others(
    server: OssServer, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = open_store(f"oss://{server.endpoint}/fleet/home-2")
    dead, living, foreign = store.multipart("dead"), store.multipart("living"), elsewhere.multipart("foreign")
    dead.write_part(1, b"half")
    long_ago = datetime.now(UTC) - 2 * oss_multipart.DEAD_AFTER
    for upload in server.buckets["fleet"].uploads.values():
        upload.initiated_at = long_ago
        upload.parts = {number: (*part[:2], long_ago) for number, part in upload.parts.items()}
    living.write_part(1, b"just now")
    assert store.sweep() == 1
    assert {upload.key for upload in server.buckets["fleet"].uploads.values()} == {"home/living", "home-2/foreign"}
    living.complete()
    foreign.abort()


# Listing


def test_a_listing_needs_one_permission_and_a_request_a_page(
    server: OssServer, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = sorted(f"{vehicle}/{number:03} +%ü.mp4" for vehicle in ("v1", "v2") for number in range(25))
    for key in keys:
        store.put(key, b"")
    monkeypatch.setenv("OSS_LIST_MAX_KEYS", "10")
    oss_client.close_connections()
    server.requests.clear()
    assert [info.key for info in store.list()] == keys
    assert {name for name, _ in server.requests} == {"ListObjectsV2"}
    assert len(server.requests) == 5
    assert list(store.list_level()) == [CommonPrefix("v1/"), CommonPrefix("v2/")]
    assert len(server.requests) == 6
    assert list(store.list_level(start_after="v1/")) == [CommonPrefix("v2/")]
    assert [info.key for info in store.list(start_after=keys[44])] == keys[45:]


def test_a_source_may_hold_keys_that_no_store_writes(server: OssServer) -> None:
    strange = ["home/", "home/a//b", "home/a\\b", "home/folder/", "home/tab\there"]
    for key in strange:
        server.buckets["fleet"].put(key, StoredObject.of(key.encode(), {}), forbid_overwrite=False)
    store = open_store(f"oss://{server.endpoint}/fleet/home")
    listed = [info.key for info in store.list()]
    assert listed == ["a//b", "a\\b", "folder/", "tab\there"]
    for key in listed:
        assert store.get(key) == f"home/{key}".encode()
        assert store.key_of(store.uri_of(key)) == key


# Locks


def test_a_dead_holder_of_another_machine_is_waited_for_one_lease(
    server: OssServer, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(store_processes.hold_lock, store.uri, "name") as (pid, pipe):
        assert hear(pipe) == "held"
        kill(pid, pipe)
    monkeypatch.setattr(oss_lock, "_this_process", lambda: "another-boot/pid:[1]/1/1")
    with pytest.raises(LockTimeout, match=rf"process {pid} on "), store.lock("name", timeout_s=0.3):
        pytest.fail("the lease was not over")
    monkeypatch.setattr(oss_lock, "LEASE_S", 0.5)
    with store.lock("name", timeout_s=10):
        pass


def test_a_lock_is_renewed_while_it_is_held(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oss_lock, "RENEW_S", 0.05)
    monkeypatch.setattr(oss_lock, "LEASE_S", 0.6)
    with store.lock("name", timeout_s=0), pytest.raises(LockTimeout), store.lock("name", timeout_s=1.5):
        pytest.fail("two holders")


def test_a_holder_that_lost_its_lock_is_told(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oss_lock, "RENEW_S", 3600)
    monkeypatch.setattr(oss_lock, "LEASE_S", 0.2)
    with (
        pytest.raises(StoreUnavailable, match="was lost to another"),
        store.lock("name", timeout_s=0),
        store.lock("name", timeout_s=10),
    ):
        pass


def test_a_lock_whose_answers_are_lost_is_held_once(server: OssServer, store: ObjectStore) -> None:
    server.faults = [Fault("AppendObject", lose_answer=True)]
    with store.lock("name", timeout_s=0), pytest.raises(LockTimeout), store.lock("name", timeout_s=0):
        pytest.fail("two holders")
    with store.lock("name", timeout_s=0):
        pass


def test_locks_hold_in_a_bucket_with_versioning(server: OssServer, store: ObjectStore) -> None:
    server.buckets["fleet"].versioning = "Enabled"
    store.put("count", b"0")
    said = store_processes.race(store_processes.count_up, *[(store.uri, "count", 5)] * 2)
    assert said == ["done"] * 2
    assert store.get("count") == b"10"


# Who asks


def test_an_expired_token_is_renewed_from_the_settings_during_a_run(
    server: OssServer, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    past, future = datetime.now(UTC) - timedelta(1), datetime.now(UTC) + timedelta(1)
    server.accounts = {
        "STS.old": Account("old-secret", "old-token", future),
        "STS.new": Account("new-secret", "new-token", future),
    }
    _set_keys(monkeypatch, "STS.old", "old-secret", "old-token")
    store.put("a", DATA)
    server.accounts["STS.old"] = Account("old-secret", "old-token", past)
    with pytest.raises(StoreUnavailable, match=r"session token has expired.*Renew OSS_SESSION_TOKEN"):
        store.get("a")
    _set_keys(monkeypatch, "STS.new", "new-secret", "new-token", close=False)
    assert store.get("a") == DATA


def _set_keys(
    monkeypatch: pytest.MonkeyPatch, key_id: str, secret: str, token: str | None = None, *, close: bool = True
) -> None:
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", key_id)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", secret)
    monkeypatch.setenv("OSS_SESSION_TOKEN", token or "")
    if close:
        oss_client.close_connections()


@pytest.mark.parametrize(
    ("key_id", "secret", "token", "says"),
    [
        ("LTAI-unknown", SECRET, None, "knows no such access key id.*OSS_ACCESS_KEY_ID"),
        (KEY_ID, "wrong-secret-word", None, "secret does not belong.*OSS_ACCESS_KEY_SECRET"),
        (KEY_ID, SECRET, "wrong-token-word", "session token.*OSS_SESSION_TOKEN"),
        ("STS.id", "wrong-secret-word", "right-token-word", "secret does not belong.*OSS_ACCESS_KEY_SECRET"),
        (KEY_ID, "", None, "OSS_ACCESS_KEY_SECRET is not set"),
        ("", SECRET, None, "OSS_ACCESS_KEY_ID is not set"),
    ],
)
def test_wrong_keys_stop_at_once_and_say_which(
    server: OssServer,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    key_id: str,
    secret: str,
    token: str | None,
    says: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.accounts["STS.id"] = Account("right-secret-word", "right-token-word")
    _set_keys(monkeypatch, key_id, secret, token)
    uses = [lambda: list(store.list()), lambda: store.get("a"), lambda: store.head("a"), lambda: store.put("a", b"")]
    for use in uses:
        with pytest.raises(StoreUnavailable, match=f"(?s){says}") as caught:
            use()
        assert caught.value.__context__ is None  # the SDK's own, which quotes the answer: some pickles keep it
        shown = "".join(traceback.format_exception(caught.value)) + repr(store) + repr(pickle.dumps(store))
        shown += caplog.text + repr(Settings()) + str(pickle.dumps(caught.value))
        for hidden in filter(None, (secret, token)):
            assert hidden not in shown
    assert len(server.requests) <= len(uses)


def test_no_connection_shows_its_keys(server: OssServer, store: ObjectStore) -> None:
    store.put("a", b"")
    connection = oss_client.connection(OssEndpoint(server.endpoint))
    options = connection.client._client._options
    keys = options.credentials_provider
    assert SECRET not in repr(connection) + repr(vars(connection.client)) + repr(vars(options)) + repr(vars(keys))


# Where


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("oss://fleet/veh-7", r"no endpoint: 'fleet' is no host\. .*oss://oss-cn-hangzhou.aliyuncs.com/fleet/veh-7"),
        ("oss://", "names no endpoint"),
        ("oss://oss-cn-hangzhou.aliyuncs.com", "names no bucket"),
        ("oss://oss-cn-hangzhou.aliyuncs.com/", "names no bucket"),
        ("oss://oss-cn-hangzhou.aliyuncs.com/B_d/a", "'B_d', which none can have"),
        ("oss://https://oss-cn-hangzhou.aliyuncs.com/fleet/a", "scheme https://.*oss://oss-cn-hangzhou.aliyuncs.com/f"),
        ("oss://fleet.oss-cn-hangzhou.aliyuncs.com/a", "bucket 'fleet' in front.*oss://oss-cn-.*com/fleet/"),
        ("oss://fleet.oss-cn-hangzhou-internal.aliyuncs.com/a", "bucket 'fleet' in front"),
        ("oss://id:secret@oss-cn-hangzhou.aliyuncs.com/fleet/a", "holds a user or password.*OSS_ACCESS_KEY_ID"),
        ("oss://oss-cn-hangzhou.aliyuncs.com/fleet/a?x-oss-signature=secret", "%3F"),
        ("oss://oss-cn-hangzhou.aliyuncs.com/fleet/%ff/a", "UTF-8"),
        ("oss://-x.example.org/fleet/a", "names no endpoint"),
    ],
)
def test_a_wrong_uri_says_what_to_write(uri: str, says: str) -> None:
    for use in (open_store, split_uri):
        with pytest.raises(InvalidUri, match=f"(?s){says}") as error:
            use(uri)
        assert "secret" not in str(error.value)


@pytest.mark.parametrize("prefix", ["a/../b", "a//b", ".tmp", "./a"])
def test_a_store_has_a_plain_prefix(prefix: str) -> None:
    with pytest.raises(InvalidUri, match="prefix that"):
        open_store(f"oss://oss-cn-hangzhou.aliyuncs.com/fleet/{prefix}")


def test_an_object_is_split_into_its_bucket_and_its_key() -> None:
    root = "oss://oss-cn-hangzhou.aliyuncs.com/fleet"
    for key in ("a.mp4", "a b/ü%?#.mp4", "x//y/z"):
        assert split_uri(open_store(root).uri_of(key)) == (root, key)
    with pytest.raises(InvalidUri, match="bucket, not an object"):
        split_uri(root)


@pytest.mark.parametrize("key", ["veh-7/2026-01-03/front/083000.mp4", "a b/ü+%.mp4"])
def test_the_endpoint_is_no_part_of_what_an_object_is(key: str) -> None:
    stores = [open_store(f"oss://oss-cn-hangzhou{door}.aliyuncs.com/fleet/up") for door in ("", "-internal")]
    uris = [store.uri_of(key) for store in stores]
    assert len({SourceIdentity.of(uri) for uri in uris}) == 1
    assert len({clip_id(uri, "etag", {}, "1") for uri in uris}) == 1
    assert {store.key_of(uri) for store in stores for uri in uris} == {key}
    for other in (f"oss://oss-cn-hangzhou.aliyuncs.com/fleet-2/up/{key}", "oss://up/a", "s3://fleet/up/a"):
        assert stores[0].key_of(other) is None


def test_a_plain_key_stands_in_its_uri_as_it_is() -> None:
    key = "date=2026-01-03/vehicle=veh-7/a_b-c.d~e+f,g.mp4"
    uri = open_store("oss://oss-cn-hangzhou.aliyuncs.com/fleet/up").uri_of(key)
    assert uri == f"oss://oss-cn-hangzhou.aliyuncs.com/fleet/up/{key}"


@pytest.mark.parametrize(
    ("endpoint", "region", "other"),
    [
        ("oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou", "oss-cn-hangzhou-internal.aliyuncs.com"),
        ("oss-us-west-1-internal.aliyuncs.com", "us-west-1", "oss-us-west-1.aliyuncs.com"),
        ("cn-hangzhou.oss.aliyuncs.com", "cn-hangzhou", "oss-cn-hangzhou-internal.aliyuncs.com"),
        ("oss-accelerate.aliyuncs.com", None, None),
        ("oss-cn-shanghai-finance-1-pub.aliyuncs.com", None, None),
        ("oss-cn-hzfinance-internal.aliyuncs.com", None, None),
        ("video.example.org", None, None),
    ],
)
def test_an_endpoint_of_alibaba_says_its_region(endpoint: str, region: str | None, other: str | None) -> None:
    assert (OssEndpoint(endpoint).region, OssEndpoint(endpoint).other_door) == (region, other)


def test_a_missing_region_and_a_wrong_one_say_what_to_set(
    server: OssServer, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSS_REGION", "")
    oss_client.close_connections()
    with pytest.raises(StoreUnavailable, match=r"does not say its region.*Set OSS_REGION"):
        store.head("a")
    monkeypatch.setenv("OSS_REGION", "cn-elsewhere")
    oss_client.close_connections()
    with pytest.raises(StoreUnavailable, match=r"another region.*Set OSS_REGION"):
        store.head("a")


def test_a_bucket_that_is_not_there_or_not_ours_or_elsewhere_says_which(server: OssServer) -> None:
    server.buckets["closed"] = server.buckets["moved"] = server.buckets["fleet"]
    server.denied = {("ListObjectsV2", "closed"), ("GetObject", "closed")}
    server.elsewhere["moved"] = "oss-cn-shanghai.aliyuncs.com"
    for bucket, says in (
        ("missing", "no bucket 'missing'"),
        ("closed", "oss:ListObjects is not allowed.*permission oss:ListObjects on the bucket 'closed'"),
        ("moved", "another region.*oss-cn-shanghai.aliyuncs.com.*oss://oss-cn-shanghai.aliyuncs.com/moved/"),
    ):
        with pytest.raises(StoreUnavailable, match=says):
            list(open_store(f"oss://{server.endpoint}/{bucket}").list())
    with pytest.raises(StoreUnavailable, match="oss:GetObject is not allowed"):
        open_store(f"oss://{server.endpoint}/closed").get("a")


def test_a_clock_that_is_wrong_says_so_at_once(server: OssServer, store: ObjectStore) -> None:
    server.clock_ahead = timedelta(hours=1)
    with pytest.raises(StoreUnavailable, match="clock is more than 15 minutes off"):
        list(store.list())
    assert len(server.requests) == 1


def test_an_endpoint_that_is_not_reached_names_the_other_door(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("alibabacloud_oss_v2.defaults.DEFAULT_BASE_DELAY_S", 0.002)
    with oss_environment(monkeypatch):
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        for door, other in (("-internal", ""), ("", "-internal")):
            store = open_store(f"oss://oss-cn-hangzhou{door}.aliyuncs.com/fleet")
            with pytest.raises(
                StoreUnavailable, match=rf"cannot be reached \(Name or.*oss-cn-hangzhou{other}.aliyuncs.com"
            ):
                store.head("a")


def test_a_bucket_is_addressed_by_host_where_the_endpoint_is_a_name(
    server: OssServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, real = [], socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **options: Any) -> Any:
        hosts.append(host)
        return real("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    store = open_store(f"oss://oss.localhost:{server.port}/fleet/home")
    store.put("a b/ü", DATA)
    assert store.get("a b/ü") == DATA
    assert [info.key for info in store.list()] == ["a b/ü"]
    assert set(hosts) == {"fleet.oss.localhost"}


# Clients


def test_one_client_serves_a_process_and_is_made_when_first_used(server: OssServer) -> None:
    stores = [open_store(f"oss://{server.endpoint}/fleet/{name}") for name in "ab"]
    assert not oss_client._connections
    threads = [threading.Thread(target=store.put, args=("a", b"")) for store in stores * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(oss_client._connections) == [server.endpoint]
    oss_client.close_connections()
    assert stores[0].get("a") == b""


def test_a_missing_extra_is_named_with_its_command(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "alibabacloud_oss_v2", None)
    with pytest.raises(StoreUnavailable, match=re.escape("pip install 'video-assets[oss]'")):
        list(store.list())


def test_a_netrc_does_not_take_the_place_of_the_signature(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ObjectNotFound):
        store.head("a")

"""S3 holds the parts of uploads against their CRC64NVME, and a store that does not know it against their MD5.

The server of these tests holds a part against a CRC64NVME and an MD5 that come with it, lists both, and refuses
`BadDigest`. Unlike S3 it tells of an object that was put in parts a CRC64NVME of the parts' CRCs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any, cast

import pytest

from video_assets.storage.crc import Crc
from video_assets.storage.object_store import MIN_PART_BYTES, ObjectInfo, ObjectNotFound, ObjectStore, StoreError
from video_assets.storage.part_uploads import Part
from video_assets.storage.registry import open_store
from video_assets.storage.s3_clients import connect
from video_assets.storage.s3_part_checksums import is_joined, part_checksum
from video_assets.storage.s3_part_requests import PIECE_BYTES
from video_assets.storage.s3_uploads import S3Uploads
from video_assets_tests.servers.fault_proxy import Fault, FaultProxy
from video_assets_tests.servers.s3_server import boto_client

DATA = bytes(range(256)) * 40
CHECKSUM_HEADERS = "x-amz-(sdk-)?checksum-.*"
PARTS = "PUT .*partNumber"


@pytest.fixture
def store(proxy: FaultProxy, bucket: str) -> ObjectStore:
    return open_store(f"s3://{bucket}")


def sent(proxy: FaultProxy, number: int = 1) -> int:
    """How often a part was sent."""
    return sum(re.search(rf"partNumber={number}\b", request) is not None for request in proxy.requests)


def confirmed(store: ObjectStore, *data: bytes) -> ObjectInfo | None:
    def parts(kind: str) -> list[Part]:
        return [Part(len(piece), store.uploads.checksum(piece, kind)) for piece in data]

    return store.uploads.confirm("a", sum(map(len, data)), parts)


def crc64(data: bytes) -> str:
    """As S3 writes it, by way of the class that reads are held against."""
    crc = Crc("CRC64-NVME")
    crc.update(data)
    return base64.b64encode(crc.digest()).decode()


def test_the_checksum_is_the_one_that_s3_names() -> None:
    # The check value of the CRC catalogue for 123456789, as Amazon's documentation of CRC64NVME writes checksums.
    assert (
        part_checksum(b"123456789", "crc64nvme")
        == "crc64nvme:" + base64.b64encode(bytes.fromhex("ae8b14860a799888")).decode()
    )


def test_a_part_goes_up_with_its_crc_and_is_listed_with_it(proxy: FaultProxy, store: ObjectStore, bucket: str) -> None:
    upload = store.uploads.begin("a", part_bytes=MIN_PART_BYTES)
    assert upload.kind == "crc64nvme"
    assert upload.send(1, DATA).checksum == f"crc64nvme:{crc64(DATA)}"
    listed = connect(bucket).boto.list_parts(Bucket=bucket, Key="a", UploadId=upload.upload_id)["Parts"]
    assert [part["ChecksumCRC64NVME"] for part in listed] == [crc64(DATA)]
    resumed = store.uploads.resume("a", upload.upload_id, part_bytes=MIN_PART_BYTES)
    assert (resumed.kind, resumed.parts) == ("crc64nvme", upload.parts)


def test_a_part_that_is_changed_on_the_way_is_refused_and_sent_again(proxy: FaultProxy, store: ObjectStore) -> None:
    upload = store.uploads.begin("a", part_bytes=MIN_PART_BYTES)
    proxy.faults = [Fault(PARTS, times=2, corrupt_sent_at=100)]
    upload.send(1, DATA)
    assert sent(proxy) == 3
    assert upload.complete().size_bytes == len(DATA)
    assert store.get("a") == DATA
    assert confirmed(store, DATA) == store.head("a")


def test_a_part_that_is_changed_each_time_is_an_error(proxy: FaultProxy, store: ObjectStore) -> None:
    upload = store.uploads.begin("a", part_bytes=MIN_PART_BYTES)
    proxy.faults = [Fault(PARTS, times=1000, corrupt_sent_at=0)]
    with pytest.raises(StoreError, match=r"other bytes than were sent \(BadDigest\), 3 times"):
        upload.send(1, DATA)
    assert upload.parts == {}
    assert store.uploads.resume("a", upload.upload_id, part_bytes=MIN_PART_BYTES).parts == {}


def test_a_part_that_is_not_what_its_checksum_says_is_refused(proxy: FaultProxy, store: ObjectStore) -> None:
    upload = store.uploads.begin("a", part_bytes=MIN_PART_BYTES)
    with pytest.raises(StoreError, match="BadDigest"):
        upload.send(1, DATA, store.uploads.checksum(DATA[::-1]))
    assert upload.parts == {}


FORGETFUL = {
    "passes over it": [Fault("", times=1000, forgets=CHECKSUM_HEADERS)],
    "refuses it": [
        Fault("POST .*uploads", status=501, code="NotImplemented"),
        Fault("", times=1000, forgets=CHECKSUM_HEADERS),
    ],
    "finds it invalid": [
        Fault("POST .*uploads", status=400, code="InvalidRequest"),
        Fault("", times=1000, forgets=CHECKSUM_HEADERS),
    ],
    # As Backblaze B2 does: "Unsupported header 'x-amz-checksum-mode' received for this API call."
    "refuses to be asked for it": [
        Fault("", times=1000, status=400, code="InvalidArgument", header=CHECKSUM_HEADERS),
        Fault("", times=1000, forgets=CHECKSUM_HEADERS),
    ],
}


@pytest.mark.parametrize("what", FORGETFUL)
def test_a_store_that_does_not_know_the_checksum_is_told_md5s(proxy: FaultProxy, store: ObjectStore, what: str) -> None:
    proxy.faults = [Fault(**vars(fault)) for fault in FORGETFUL[what]]
    first = bytes(MIN_PART_BYTES)
    upload = store.uploads.begin("a", part_bytes=MIN_PART_BYTES)
    part = upload.send(1, first)
    assert part.checksum == store.uploads.checksum(first, "md5")
    assert upload.kind == "md5"
    resumed = store.uploads.resume("a", upload.upload_id, part_bytes=MIN_PART_BYTES)
    assert (resumed.kind, resumed.parts) == ("md5", {1: part})
    proxy.faults.insert(0, Fault(PARTS, corrupt_sent_at=5))
    resumed.send(2, DATA)
    assert (sent(proxy, 1), sent(proxy, 2)) == (1, 2)
    assert resumed.complete() == confirmed(store, first, DATA)
    assert confirmed(store, first, DATA[::-1]) is None


def test_a_store_that_passes_over_the_checksum_of_a_part_is_sent_it_again_with_its_md5(
    proxy: FaultProxy, store: ObjectStore
) -> None:
    proxy.faults = [Fault("(PUT|HEAD) ", times=1000, forgets=CHECKSUM_HEADERS)]
    upload = store.uploads.begin("a", part_bytes=MIN_PART_BYTES)
    assert upload.kind == "crc64nvme"
    assert upload.send(1, DATA).checksum == store.uploads.checksum(DATA, "md5")
    assert (upload.kind, sent(proxy)) == ("md5", 2)
    assert upload.complete() == confirmed(store, DATA)


def test_an_upload_that_was_begun_without_the_checksum_ends_by_md5s(
    proxy: FaultProxy, store: ObjectStore, bucket: str, s3_url: str
) -> None:
    boto, first = boto_client(s3_url), b"1" * MIN_PART_BYTES
    upload_id = boto.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    boto.upload_part(Bucket=bucket, Key="a", UploadId=upload_id, PartNumber=1, Body=first)
    upload = store.uploads.resume("a", upload_id, part_bytes=MIN_PART_BYTES)
    assert [part.checksum for part in upload.parts.values()] == [store.uploads.checksum(first, "md5")]
    assert upload.send(2, DATA).checksum.startswith("md5:")
    assert upload.complete() == confirmed(store, first, DATA)


def test_an_upload_whose_parts_need_other_checksums_is_not_taken_up(store: ObjectStore) -> None:
    # S3 answers 400 to a part without the upload's own checksum, and a watcher would send it for ever. boto3's
    # `upload_file` begins such uploads; the server of the tests does not list how one was begun.
    def call(method: str, **asked: Any) -> dict[str, Any]:
        return {"ChecksumAlgorithm": "CRC32", "ChecksumType": "COMPOSITE"}

    uploads = replace(cast("S3Uploads", store.uploads), call=call)
    with pytest.raises(ObjectNotFound, match="CRC32"):
        uploads.resume("a", "id", part_bytes=MIN_PART_BYTES)


def test_what_was_written_down_says_the_kind(store: ObjectStore) -> None:
    uploads = store.uploads
    begun = uploads.begin("a", part_bytes=MIN_PART_BYTES)
    part = begun.send(1, DATA)
    old = uploads.resume("a", begun.upload_id, part_bytes=MIN_PART_BYTES, parts=())
    assert old.kind == "md5"
    resumed = uploads.resume("a", begun.upload_id, part_bytes=MIN_PART_BYTES, parts=[part], kind=begun.kind)
    assert resumed.kind == "crc64nvme"
    assert resumed.complete().size_bytes == len(DATA)


JOINED = b"first part" + b"second"


def parts_by(kinds: list[str]) -> Callable[[str], list[Part]]:
    """Parts of `JOINED`; notes the kinds that are asked for."""

    def parts(kind: str) -> list[Part]:
        kinds.append(kind)
        return [Part(len(piece), part_checksum(piece, kind)) for piece in (JOINED[:10], JOINED[10:])]

    return parts


@pytest.mark.parametrize(
    ("head", "holds", "asked"),
    [
        ({"ChecksumCRC64NVME": crc64(JOINED), "ChecksumType": "FULL_OBJECT", "ETag": '"x"'}, True, ["crc64nvme"]),
        ({"ChecksumCRC64NVME": crc64(b"other"), "ETag": '"x"'}, False, ["crc64nvme"]),
        ({"ChecksumCRC64NVME": crc64(JOINED), "ServerSideEncryption": "aws:kms", "ETag": '"x"'}, True, ["crc64nvme"]),
        ({"ServerSideEncryption": "aws:kms", "ETag": f'"{"0" * 32}-2"'}, False, []),
        ({"ETag": f'"{"0" * 32}-2"'}, False, ["md5"]),
    ],
    ids=["of the whole", "of another", "encrypted", "encrypted and untold", "etag of another"],
)
def test_an_object_is_held_against_what_is_told_of_it(head: dict[str, Any], holds: bool, asked: list[str]) -> None:
    kinds: list[str] = []
    assert is_joined(head, parts_by(kinds)) is holds
    assert kinds == asked


@pytest.mark.parametrize(
    ("endpoint", "is_signed"), [("https://s3.example.invalid", False), ("http://s3.example.invalid", True)]
)
def test_under_tls_a_part_is_sent_without_a_second_hash(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, endpoint: str, is_signed: bool
) -> None:
    from botocore.awsrequest import AWSResponse
    from urllib3 import HTTPResponse

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    connect.cache_clear()
    requests, data = list[Any](), DATA * 20

    def answer(request: Any, **_: Any) -> Any:
        requests.append(request)
        return AWSResponse(request.url, 200, {}, HTTPResponse(BytesIO(), preload_content=False))

    try:
        boto = connect("fleet").boto
        boto.meta.events.register("before-send.s3.UploadPart", answer)
        target = {"Bucket": "fleet", "Key": "a", "UploadId": "u", "PartNumber": 1}
        boto.upload_part(**target, Body=data, ChecksumAlgorithm="CRC64NVME", ChecksumCRC64NVME=crc64(data))
    finally:
        connect.cache_clear()
    (request,) = requests
    # In pieces, each of which has the timeout of a connection to itself; and again, where it is sent again.
    assert max(len(piece) for piece in request.body) == PIECE_BYTES
    assert [b"".join(request.body), b"".join(request.body)] == [data, data]
    assert request.headers["x-amz-checksum-crc64nvme"] == crc64(data).encode()
    assert (request.headers["X-Amz-Content-SHA256"] != b"UNSIGNED-PAYLOAD") is is_signed
    assert [name for name in request.headers if "crc32" in name.lower() or name == "Content-MD5"] == []

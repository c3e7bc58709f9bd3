"""The OSS test server is as strict as it says: an unmodified SDK and plain HTTP against it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import alibabacloud_oss_v2 as sdk
import pytest
import requests

from video_assets_tests.servers.oss_server import Fault, OssServer
from video_assets_tests.servers.oss_server_bucket import StoredObject, crc64
from video_assets_tests.servers.oss_server_signature import Account


@pytest.fixture
def server() -> Iterator[OssServer]:
    with OssServer(accounts={"id": Account("secret"), "STS.id": Account("secret", "token")}) as server:
        yield server


def client(server: OssServer, key_id: str = "id", secret: str = "secret", token: str | None = None) -> sdk.Client:
    config = sdk.config.load_default()
    config.region, config.endpoint = server.region, f"http://{server.endpoint}"
    config.credentials_provider = sdk.credentials.StaticCredentialsProvider(key_id, secret, token)
    config.retry_max_attempts = 1
    return sdk.Client(config)


def test_crc64_is_the_one_of_the_standard() -> None:
    assert int(crc64(b"123456789")) == 0x995DC9BBDF1939FA


def test_the_sdk_pages_through_2300_keys(server: OssServer) -> None:
    keys = sorted(f"{number:04} +%ü" for number in range(2300))
    for key in keys:
        server.buckets["fleet"].put(key, StoredObject.of(b"", {}), forbid_overwrite=False)
    pages = list(client(server).list_objects_v2_paginator().iter_page(sdk.ListObjectsV2Request("fleet", max_keys=1000)))
    assert [len(page.contents) for page in pages] == [1000, 1000, 300]
    assert [entry.key for page in pages for entry in page.contents] == keys


def test_the_sdk_deletes_many_and_lists_parts_and_uploads(server: OssServer) -> None:
    oss = client(server)
    for key in "abc":
        oss.put_object(sdk.PutObjectRequest("fleet", key, body=b"1"))
    oss.delete_multiple_objects(sdk.DeleteMultipleObjectsRequest("fleet", objects=[sdk.DeleteObject(k) for k in "ab"]))
    assert [e.key for e in oss.list_objects_v2(sdk.ListObjectsV2Request("fleet")).contents] == ["c"]
    upload_id = oss.initiate_multipart_upload(sdk.InitiateMultipartUploadRequest("fleet", "d")).upload_id
    for number in (1, 2):
        oss.upload_part(sdk.UploadPartRequest("fleet", "d", number, upload_id, body=b"part"))
    parts = oss.list_parts(sdk.ListPartsRequest("fleet", "d", upload_id)).parts
    assert [(part.part_number, part.size) for part in parts] == [(1, 4), (2, 4)]
    uploads = oss.list_multipart_uploads(sdk.ListMultipartUploadsRequest("fleet")).uploads
    assert [(upload.key, upload.upload_id) for upload in uploads] == [("d", upload_id)]


def test_a_presigned_url_is_good_for_its_request_and_its_time(server: OssServer) -> None:
    oss = client(server, "STS.id", token="token")
    oss.put_object(sdk.PutObjectRequest("fleet", "a b", body=b"bytes"))
    url = oss.presign(sdk.GetObjectRequest("fleet", "a b"), expires=timedelta(minutes=1)).url
    answer = requests.get(url, timeout=10)
    assert (answer.status_code, answer.content) == (200, b"bytes")
    assert answer.headers["x-oss-hash-crc64ecma"] == crc64(b"bytes")
    for wrong in (url.replace("a%20b", "c"), url + "&x-oss-process=image", url.replace("token", "t0ken")):
        assert requests.get(wrong, timeout=10).status_code == 403
    assert requests.put(url, b"", timeout=10).status_code == 403
    server.clock_ahead = timedelta(minutes=2)
    assert "Request has expired" in requests.get(url, timeout=10).text


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"secret": "wrong"}, "SignatureDoesNotMatch"),
        ({"key_id": "nobody"}, "InvalidAccessKeyId"),
        ({"key_id": "STS.id"}, "InvalidSecurityToken"),
    ],
)
def test_a_wrong_signature_is_refused(server: OssServer, said: dict[str, Any], code: str) -> None:
    with pytest.raises(sdk.exceptions.OperationError) as error:
        client(server, **said).get_object(sdk.GetObjectRequest("fleet", "a"))
    assert error.value.unwrap().code == code  # type: ignore[attr-defined]


def test_an_unsigned_request_and_a_header_changed_on_the_way_are_refused(server: OssServer) -> None:
    assert requests.get(f"http://{server.endpoint}/fleet/a", timeout=10).status_code == 403
    seen: list[Any] = []
    oss = client(server)
    send = oss._client._options.http_client.send

    def tampered(request: Any, **options: Any) -> Any:
        request.headers["x-oss-meta-more"] = "added"
        seen.append(request)
        return send(request, **options)

    oss._client._options.http_client.send = tampered
    with pytest.raises(sdk.exceptions.OperationError, match="SignatureDoesNotMatch"):
        oss.put_object(sdk.PutObjectRequest("fleet", "a", body=b""))
    assert seen


@pytest.mark.parametrize(
    ("span", "strict", "status", "body"),
    [
        ("bytes=2-4", False, 206, b"cde"),
        ("bytes=2-", False, 206, b"cdef"),
        ("bytes=-2", False, 206, b"ef"),
        ("bytes=2-99", False, 200, b"abcdef"),
        ("bytes=2-99", True, 206, b"cdef"),
        ("bytes=9-", False, 200, b"abcdef"),
        ("bytes=4-2", False, 200, b"abcdef"),
    ],
)
def test_a_range_is_answered_as_oss_does(server: OssServer, span: str, strict: bool, status: int, body: bytes) -> None:
    oss = client(server)
    oss.put_object(sdk.PutObjectRequest("fleet", "a", body=b"abcdef"))
    behavior = "standard" if strict else None
    answer = oss.get_object(sdk.GetObjectRequest("fleet", "a", range_header=span, range_behavior=behavior))
    assert (answer.status_code, answer.body.read()) == (status, body)


def test_faults_befall_the_operation_they_name_and_end(server: OssServer) -> None:
    oss = client(server)
    server.faults = [Fault("GetObject", status=503, code="SlowDown"), Fault("HeadObject", reset=True)]
    oss.put_object(sdk.PutObjectRequest("fleet", "a", body=b"bytes"))
    with pytest.raises(sdk.exceptions.OperationError, match="SlowDown"):
        oss.get_object(sdk.GetObjectRequest("fleet", "a"))
    with pytest.raises(sdk.exceptions.OperationError, match="request error"):
        oss.head_object(sdk.HeadObjectRequest("fleet", "a"))
    assert oss.get_object(sdk.GetObjectRequest("fleet", "a")).body.read() == b"bytes"
    assert oss.head_object(sdk.HeadObjectRequest("fleet", "a")).content_length == 5

"""Listings as real buckets have them: folder markers, `//`, pages, fields in any order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from video_assets.storage.object_store import CommonPrefix, InvalidKey, ObjectInfo
from video_assets.storage.registry import open_store
from video_assets.storage.s3_listing import scan_page
from video_assets_tests.servers.s3_server import boto_client


def test_a_page_is_read_whatever_the_order_of_its_fields() -> None:
    page = scan_page(
        b"""<?xml version="1.0" encoding="UTF-8"?>
        <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>x%2F</Prefix>
        <NextContinuationToken>t&amp;1</NextContinuationToken><EncodingType>url</EncodingType>
        <Contents><Size>7</Size><ETag>"aa"</ETag><Owner><ID>z</ID></Owner>
          <LastModified>2026-01-03T08:30:00.123Z</LastModified><Key>x/a+b%2B%C3%A9</Key></Contents>
        <Contents><Key>x/c</Key><ETag>&quot;bb-2&quot;</ETag><Size>0</Size>
          <LastModified>2026-01-03T08:30:01.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>
        <CommonPrefixes><Prefix>x/b%2F</Prefix></CommonPrefixes></ListBucketResult>
        """
    )
    time = datetime(2026, 1, 3, 8, 30, tzinfo=UTC)
    assert page.next_token == "t&1"
    assert list(page.entries()) == [
        ObjectInfo("x/a b+é", 7, "aa", time),
        CommonPrefix("x/b/"),
        ObjectInfo("x/c", 0, "bb-2", time.replace(second=1)),
    ]


def test_keys_are_read_where_the_server_does_not_encode_them() -> None:
    page = scan_page(
        b"<ListBucketResult><Contents><Key>a+b%20&lt;&amp;&gt;&quot;</Key><Size>1</Size></Contents></ListBucketResult>"
    )
    assert [info.key for info in page.objects] == ['a+b%20<&>"']


def test_a_slash_that_is_encoded_in_the_key_itself_stays_as_it_is() -> None:
    # Of a server that does not encode keys; read as `a/b.mp4` it would be another object.
    fields = "<LastModified>2026-01-03T08:30:00Z</LastModified><ETag>x</ETag><Size>1</Size>"
    page = scan_page(f"<ListBucketResult><Contents><Key>a%2Fb.mp4</Key>{fields}</Contents></ListBucketResult>".encode())
    assert [info.key for info in page.objects] == ["a%2Fb.mp4"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Error/>",
        b"<ListBucketResult><Contents><Key>a</Key>",
        b"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        b"\xff",
    ],
)
def test_what_is_no_whole_listing_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        scan_page(body)


def test_folder_markers_and_double_slashes_are_listed_and_stop_nothing(s3_url: str, s3_bucket: str) -> None:
    client = boto_client(s3_url)
    root = "markers"
    for key in (f"{root}/", f"{root}/a/", f"{root}/a//b.mp4", f"{root}/a/c.mp4", f"{root}/.tmp/locks/x", "markers-2/a"):
        client.put_object(Bucket=s3_bucket, Key=key, Body=b"")
    store = open_store(f"s3://{s3_bucket}/{root}")
    assert [info.key for info in store.list()] == ["a/", "a//b.mp4", "a/c.mp4"]
    assert list(store.list_level()) == [CommonPrefix("a/")]
    with pytest.raises(InvalidKey, match="//"):
        store.get("a//b.mp4")


def test_a_uri_as_other_programs_write_it_has_its_key(s3_bucket: str) -> None:
    store = open_store(f"s3://{s3_bucket}/fleet")
    assert store.key_of(f"s3://{s3_bucket}/fleet/a b.mp4") == "a b.mp4"
    assert store.key_of(f"s3://{s3_bucket}/fleet/é.mp4") == "é.mp4"
    assert store.key_of(f"s3://{s3_bucket}-2/fleet/a.mp4") is None

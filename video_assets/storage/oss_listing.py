"""Listings of OSS, page by page, read straight from the XML: the SDK's own models cost ten times the time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from video_assets.storage.object_store import CommonPrefix, ObjectInfo, StoreUnavailable
from video_assets.storage.oss_client import ATTEMPTS, OssConnection
from video_assets.storage.oss_errors import store_errors
from video_assets.storage.oss_uri import OssPlace


def list_entries(
    connection: OssConnection, place: OssPlace, prefix: str, *, delimiter: str, start_after: str
) -> Iterator[ObjectInfo | CommonPrefix]:
    """All entries of the bucket with `prefix` that sort after `start_after`, in the order of their UTF-8 bytes.

    Keys are the bucket's own, whole ones. Needs the permission oss:ListObjects and no other.
    """
    parameters = {"list-type": "2", "encoding-type": "url", "max-keys": str(connection.list_max_keys)}
    parameters |= {name: text for name, text in (("prefix", prefix), ("delimiter", delimiter)) if text}
    after = {"start-after": start_after} if start_after else {}
    while True:
        page = _fetch(connection, place, {**parameters, **after})
        yield from _entries(page)
        token = page.findtext("NextContinuationToken")
        if page.findtext("IsTruncated") != "true" or not token:
            return
        after = {"continuation-token": token}


def _fetch(connection: OssConnection, place: OssPlace, parameters: dict[str, str]) -> ElementTree.Element:
    """One page; one that arrives damaged is asked for again."""
    from alibabacloud_oss_v2.types import OperationInput

    item = f"{place.bucket_uri}/{parameters.get('prefix', '')}"
    for _ in range(ATTEMPTS):
        asked = OperationInput("ListObjectsV2", "GET", headers={}, parameters=parameters, bucket=place.bucket)
        with store_errors(place, item):
            answer: Any = connection.client.invoke_operation(asked)
        try:
            page = ElementTree.fromstring(answer.http_response.content)  # noqa: S314 (the SDK parses it the same way)
        except ElementTree.ParseError as error:
            damage = str(error)
            continue
        if page.tag == "ListBucketResult" and page.findtext("EncodingType") == "url":
            return page
        damage = f"<{page.tag}> without EncodingType"
    raise StoreUnavailable(item, f"each listing arrived damaged ({damage})", "Check the endpoint and any proxy.")


def _entries(page: ElementTree.Element) -> Iterator[ObjectInfo | CommonPrefix]:
    """The entries of a page, objects and common prefixes merged in their order."""
    prefixes = [unquote(element.findtext("Prefix", "")) for element in page.iterfind("CommonPrefixes")]
    if not prefixes:
        yield from map(_object, page.iterfind("Contents"))
        return
    entries: list[tuple[bytes, ObjectInfo | CommonPrefix]] = [(p.encode(), CommonPrefix(p)) for p in prefixes]
    entries += [(info.key.encode(), info) for info in map(_object, page.iterfind("Contents"))]
    yield from (entry for _, entry in sorted(entries, key=lambda pair: pair[0]))


def _object(element: ElementTree.Element) -> ObjectInfo:
    said = {child.tag: child.text or "" for child in element}
    return ObjectInfo(
        unquote(said["Key"]),
        int(said["Size"]),
        said["ETag"].strip('"'),
        datetime.fromisoformat(said["LastModified"]),
    )

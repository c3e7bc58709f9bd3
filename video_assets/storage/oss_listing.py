"""Listings of OSS, page by page, read straight from the XML: the SDK's own models cost ten times the time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from video_assets.storage.listing_page import ListingPage, scan_listing
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.oss_client import ATTEMPTS, OssConnection
from video_assets.storage.oss_errors import store_errors
from video_assets.storage.oss_uri import OssPlace


def list_pages(
    connection: OssConnection, place: OssPlace, prefix: str, *, delimiter: str, start_after: str
) -> Iterator[ListingPage]:
    """All pages of the bucket's entries with `prefix` that sort after `start_after`, in the order of their UTF-8 bytes.

    Keys are the bucket's own, whole ones. Needs the permission oss:ListObjects and no other.
    """
    parameters = {"list-type": "2", "encoding-type": "url", "max-keys": str(connection.list_max_keys)}
    parameters |= {name: text for name, text in (("prefix", prefix), ("delimiter", delimiter)) if text}
    after = {"start-after": start_after} if start_after else {}
    while True:
        page = _fetch(connection, place, {**parameters, **after})
        yield page
        if not page.next_token:
            return
        after = {"continuation-token": page.next_token}


def _fetch(connection: OssConnection, place: OssPlace, parameters: dict[str, str]) -> ListingPage:
    """One page; one that arrives damaged is asked for again."""
    from alibabacloud_oss_v2.types import OperationInput

    item = f"{place.bucket_uri}/{parameters.get('prefix', '')}"
    for _ in range(ATTEMPTS):
        asked = OperationInput("ListObjectsV2", "GET", headers={}, parameters=parameters, bucket=place.bucket)
        with store_errors(place, item):
            answer: Any = connection.client.invoke_operation(asked)
        try:
            page = scan_listing(answer.http_response.content, _decoded)
        except ValueError as error:
            damage = str(error)
            continue
        if page.is_encoded:
            return page
        damage = "a page without EncodingType"
    raise StoreUnavailable(item, f"each listing arrived damaged ({damage})", "Check the endpoint and any proxy.")


def _decoded(text: str) -> str:
    return unquote(text, errors="strict") if "%" in text else text

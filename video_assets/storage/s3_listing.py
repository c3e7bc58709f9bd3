"""Listing a bucket: botocore signs and sends the requests, a small scanner reads the answers.

boto3's own parser spends 140 µs of CPU on each key, the scanner of `listing_page` 2. obstore's listing is cheap too,
but its paths cannot say a prefix that ends within a name, fail on a key with `//`, and show the folder marker `a/` as
an object `a`: all three are in real buckets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from video_assets.storage.listing_page import ListingPage, scan_listing
from video_assets.storage.s3_errors import wrong_region
from video_assets.storage.s3_quick_listing import quick_page

if TYPE_CHECKING:
    from video_assets.storage.s3_clients import S3Clients

MAX_KEYS = 1000
"""The most keys that S3 puts into one page."""

_QUERY = {
    "Prefix": "prefix",
    "MaxKeys": "max-keys",
    "EncodingType": "encoding-type",
    "Delimiter": "delimiter",
    "StartAfter": "start-after",
    "ContinuationToken": "continuation-token",
}
"""What boto3 calls a parameter, and S3."""


def scan_page(body: bytes) -> ListingPage:
    """Reads the XML of an answer; raises ValueError if it is cut short, or no listing."""
    return scan_listing(body, _decoded)


def list_page(
    bucket: str,
    prefix: str,
    delimiter: str,
    start_after: str,
    token: str,
    clients: S3Clients,
    max_keys: int = MAX_KEYS,
) -> ListingPage:
    """One page of a listing: the first, or that of a token.

    Raises:
        StoreUnavailable: the bucket is in another region.
        ClientError: as boto3 says it.
    """
    given: dict[str, Any] = {"Prefix": prefix, "MaxKeys": max_keys, "EncodingType": "url"}
    optional = {"Delimiter": delimiter, "StartAfter": start_after, "ContinuationToken": token}
    given |= {name: value for name, value in optional.items() if value}
    if max_keys == MAX_KEYS:
        quick = quick_page(bucket, {_QUERY[name]: str(value) for name, value in given.items()}, clients, scan_page)
        if quick is not None:
            return quick
    answer = clients.boto.list_objects_v2(Bucket=bucket, **given)
    region = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", clients.region)
    if region != clients.region:
        raise wrong_region(f"s3://{bucket}", region, clients.region)
    page: ListingPage = answer["Page"]
    return page


def spare_listings(client: Any) -> None:
    """Keeps botocore from parsing a listing whole, only to see whether it is an error sent as 200.

    The scanner sees that too. After a copy, say, that look is needed. Another version of botocore may call it
    otherwise: then it stays.
    """
    from botocore import handlers

    look = getattr(handlers, "_handle_200_error", None)
    if look is None:
        return

    def look_elsewhere(operation_model: Any, **more: Any) -> None:
        if operation_model.name != "ListObjectsV2":
            look(operation_model=operation_model, **more)

    client.meta.events.unregister("before-parse.s3.*", look)
    client.meta.events.register_first("before-parse.s3.*", look_elsewhere)


class ListingParserFactory:
    """Stands in for botocore's factory of parsers: listings are scanned, the rest is parsed as ever."""

    def __init__(self) -> None:
        from botocore.parsers import ResponseParserFactory

        self._factory = ResponseParserFactory()

    def set_parser_defaults(self, **defaults: Any) -> None:
        self._factory.set_parser_defaults(**defaults)

    def create_parser(self, protocol: str) -> Any:
        return _ListingParser(self._factory.create_parser(protocol))


class _ListingParser:
    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def parse(self, response: Any, shape: Any) -> Any:
        is_listing = shape is not None and shape.name == "ListObjectsV2Output" and response["status_code"] == 200
        if not is_listing:
            return self._parser.parse(response, shape)
        headers = {name.lower(): value for name, value in response["headers"].items()}
        try:
            page = scan_page(response["body"])
        except ValueError:
            # As S3 itself says it when an answer breaks off, so that boto3 asks again.
            status = {"HTTPStatusCode": 500, "HTTPHeaders": headers}
            return {"Error": {"Code": "InternalError", "Message": "listing cut short"}, "ResponseMetadata": status}
        return {"Page": page, "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": headers}}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="surrogateescape") if "%" in text or "+" in text else text

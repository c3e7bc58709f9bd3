"""One boto3 client and one obstore store for each bucket and process, from the settings an AWS user has.

Profiles, roles, SSO, the environment, instance and container metadata: whatever boto3's chain finds. obstore takes
its credentials, address and region from the same boto3 session, so both always agree.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from video_assets.settings import environment
from video_assets.storage.object_store import InvalidUri, StoreUnavailable
from video_assets.storage.s3_errors import S3Fault, s3_faults, store_error

if TYPE_CHECKING:
    from obstore.store import S3Credential, S3Store

CREDENTIAL_LIFE = timedelta(minutes=5)
"""How long obstore may use credentials before it asks boto3's chain again."""

REQUEST_ATTEMPTS = 6
"""How often a request is sent while the server is busy or cannot be reached, with growing waits between."""


@dataclass(frozen=True)
class S3Clients:
    """boto3's client, obstore's store, and where and how they ask, for messages."""

    boto: Any
    data: S3Store
    endpoint: str
    region: str


def check_installed(uri: str) -> None:
    """Raises InvalidUri with the install command where the extra is missing."""
    if find_spec("obstore") is None or find_spec("boto3") is None:
        raise InvalidUri(uri, "obstore and boto3 are not installed", "Run: pip install 'video-assets[s3]'")


@lru_cache(maxsize=64)
def connect(bucket: str) -> S3Clients:
    """The clients of a bucket, made at the first call in a process. Nothing is asked of S3 yet.

    Raises:
        StoreUnavailable: no credentials, no such profile, or no region.
    """
    check_installed(f"s3://{bucket}")
    try:
        with s3_faults():
            return _connect(bucket)
    except S3Fault as fault:
        raise store_error(fault, f"s3://{bucket}", "s3:ListBucket") from None


def _connect(bucket: str) -> S3Clients:
    import boto3
    import botocore.session
    from botocore.config import Config
    from obstore.store import S3Store

    from video_assets.storage.s3_listing import ListingParserFactory, spare_listings

    core = botocore.session.get_session()
    core.register_component("response_parser_factory", ListingParserFactory())
    session = boto3.Session(botocore_session=core)
    # Other SDKs read AWS_REGION; boto3 reads AWS_DEFAULT_REGION and the profile only.
    region = environment().get("AWS_REGION") or session.region_name
    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": REQUEST_ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
    )
    client = session.client("s3", config=config, region_name=region or "us-east-1")
    spare_listings(client)
    url = _bucket_url(client, bucket)
    if region is None and url.hostname and url.hostname.endswith(".amazonaws.com"):
        raise StoreUnavailable(f"s3://{bucket}", "the region is not set", "Set AWS_REGION to the bucket's region.")
    virtual = url.path in ("", "/")
    data = S3Store(
        bucket,
        config={
            "endpoint": f"{url.scheme}://{url.netloc}",
            "region": client.meta.region_name,
            "virtual_hosted_style_request": virtual,
            "disable_bulk_delete": True,
        },
        # The time of a whole request grows with the object: what may not last is silence.
        client_options={
            "allow_http": url.scheme == "http",
            "connect_timeout": "10s",
            "read_timeout": "60s",
            "timeout": "1d",
        },
        retry_config={"max_retries": REQUEST_ATTEMPTS - 1, "retry_timeout": timedelta(minutes=3)},
        credential_provider=_Credentials(session),
    )
    return S3Clients(client, data, client.meta.endpoint_url, client.meta.region_name)


class _Credentials:
    """Gives obstore what boto3's chain has now; the chain renews what can be renewed."""

    def __init__(self, session: Any) -> None:
        from botocore.exceptions import NoCredentialsError

        self._found = session.get_credentials()
        if self._found is None:
            raise NoCredentialsError

    def __call__(self) -> S3Credential:
        frozen = self._found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + CREDENTIAL_LIFE,
        }


def _bucket_url(client: Any, bucket: str) -> Any:
    """Where boto3 would send a request for the bucket: its own rules for endpoints, virtual hosts and path style."""
    from botocore.awsrequest import AWSResponse
    from urllib3 import HTTPResponse

    urls: list[str] = []

    def answer(request: Any, **_: Any) -> Any:
        urls.append(request.url)
        return AWSResponse(request.url, 200, {}, HTTPResponse(io.BytesIO(), preload_content=False))

    event = "before-send.s3.HeadBucket"
    client.meta.events.register(event, answer)
    try:
        client.head_bucket(Bucket=bucket)
    finally:
        client.meta.events.unregister(event, answer)
    return urlsplit(urls[0])

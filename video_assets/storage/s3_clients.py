"""One boto3 client and one obstore store for each bucket and process, from the settings an AWS user has.

Profiles, roles, SSO, the environment, instance and container metadata: whatever boto3's chain finds. obstore takes
its credentials, address and region from the same boto3 session, so both always agree.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from video_assets.environment import environment
from video_assets.storage.object_store import InvalidUri, StoreUnavailable
from video_assets.storage.s3_errors import S3Fault, s3_faults, store_error

if TYPE_CHECKING:
    from obstore.store import S3Credential, S3Store

CREDENTIAL_LIFE = timedelta(minutes=5)
"""How long obstore may use credentials before it asks boto3's chain again."""

REQUEST_ATTEMPTS = 6
"""How often a request is sent while the server is busy or cannot be reached, with growing waits between."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits, and how often it asks."""

    attempts: int
    connect_timeout_s: float = 10
    read_timeout_s: float = 60


@dataclass(frozen=True)
class S3Clients:
    """boto3's client and session, obstore's store, where they ask for the bucket, and where and how, for messages."""

    boto: Any
    session: Any = field(repr=False)
    data: S3Store
    bucket_url: str
    endpoint: str
    region: str


def check_installed(uri: str) -> None:
    """Raises InvalidUri with the install command where the extra is missing."""
    missing = [name for name in ("anycrc", "boto3", "obstore") if find_spec(name) is None]
    if missing:
        raise InvalidUri(
            uri, f"needs what is not installed: {', '.join(missing)}", "Run: pip install 'video-assets[s3]'"
        )


@lru_cache(maxsize=64)
def connect(bucket: str) -> S3Clients:
    """The clients of a bucket, made at the first call in a process. Nothing is asked of S3 yet.

    Raises:
        StoreUnavailable: no credentials, no such profile, or no region.
    """
    return connect_with(bucket, Patience(REQUEST_ATTEMPTS))


def connect_with(bucket: str, patience: Patience) -> S3Clients:
    """As `connect`, with clients of their own."""
    check_installed(f"s3://{bucket}")
    try:
        with s3_faults():
            return _connect(bucket, patience)
    except S3Fault as fault:
        raise store_error(fault, f"s3://{bucket}", "s3:ListBucket") from None


def _connect(bucket: str, patience: Patience) -> S3Clients:
    import boto3
    import botocore.session
    from obstore.store import S3Store

    from video_assets.storage.s3_listing import ListingParserFactory, spare_listings
    from video_assets.storage.s3_part_requests import spare_parts

    # At DEBUG it logs every request with its headers, and the token of a session is one.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    core = botocore.session.get_session()
    core.register_component("response_parser_factory", ListingParserFactory())
    session = boto3.Session(botocore_session=core)
    # Other SDKs read AWS_REGION; boto3 reads AWS_DEFAULT_REGION and the profile only.
    region = environment().get("AWS_REGION") or session.region_name
    client = _boto_client(session, bucket, region, patience)
    spare_listings(client)
    spare_parts(client)
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
            "connect_timeout": f"{patience.connect_timeout_s:g}s",
            "read_timeout": f"{patience.read_timeout_s:g}s",
            "timeout": "1d",
        },
        retry_config={"max_retries": patience.attempts - 1, "retry_timeout": timedelta(minutes=3)},
        credential_provider=_Credentials(session),
    )
    return S3Clients(client, session, data, url.geturl(), client.meta.endpoint_url, client.meta.region_name)


def _boto_client(session: Any, bucket: str, region: str | None, patience: Patience) -> Any:
    """boto3's client.

    Raises:
        StoreUnavailable: the endpoint that is set is no URL, or has the bucket in it, where boto3 puts it too.
    """
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        connect_timeout=patience.connect_timeout_s,
        read_timeout=patience.read_timeout_s,
        max_pool_connections=32,
        # botocore's own is put together anew for each request.
        user_agent="video-assets",
    )
    try:
        client = session.client("s3", config=config, region_name=region or "us-east-1")
    except ValueError as error:
        endpoint = str(error).rpartition(" ")[2].rpartition("@")[2]
        cause = f"the endpoint {endpoint} has no scheme, or is no URL"
        remedy = f"Write AWS_ENDPOINT_URL_S3=https://{endpoint}, or http:// for a server without TLS."
        raise StoreUnavailable(f"s3://{bucket}", cause, remedy) from None
    url = urlsplit(client.meta.endpoint_url)
    host, in_host = url.hostname or "", f"{bucket}."
    if host.startswith(in_host) and host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        raise _bucket_in_endpoint(bucket, f"{url.scheme}://{host.removeprefix(in_host)}")
    if url.path.rstrip("/").endswith(f"/{bucket}"):
        raise _bucket_in_endpoint(bucket, f"{url.scheme}://{url.netloc.rpartition('@')[2]}")
    return client


def _bucket_in_endpoint(bucket: str, meant: str) -> StoreUnavailable:
    cause = f"the endpoint that is set has the bucket '{bucket}' in it"
    remedy = f"Write AWS_ENDPOINT_URL_S3={meant}; the bucket stands in s3://{bucket}."
    return StoreUnavailable(f"s3://{bucket}", cause, remedy)


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

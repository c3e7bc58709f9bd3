"""The clients of alibabacloud-oss-v2: made when first used, one an endpoint and process, closed at its end."""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import dataclass
from typing import Any

from video_assets.settings import load_settings
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.oss_credentials import RenewedKeys, provider
from video_assets.storage.oss_errors import TOKEN_CODES
from video_assets.storage.oss_uri import OssEndpoint

ATTEMPTS = 5
"""Tries of one request, with back-off and jitter between them: about 6 s in all beside the requests themselves."""

MAX_RETRY_AFTER_S = 60.0
_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 60.0
_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class OssConnection:
    """A client of the SDK, the keys and region that it signs with, and what the settings say about listing.

    `parts` is the same client for who holds OSS's CRC64 of a part against a CRC64 that he has: the SDK's own takes 2 ms
    of CPU a megabyte.
    """

    client: Any
    parts: Any
    session: Any
    keys: RenewedKeys
    region: str
    list_max_keys: int


_connections: dict[str, OssConnection] = {}
_guard = threading.Lock()


def connection(endpoint: OssEndpoint) -> OssConnection:
    """This process's connection to an endpoint. Threads share it.

    Raises:
        StoreUnavailable: the extra is not installed, or no region is known to sign for.
    """
    with _guard:
        if endpoint.name not in _connections:
            _connections[endpoint.name] = _connect(endpoint)
        return _connections[endpoint.name]


def close_connections() -> None:
    """Closes this process's connections; the next use makes new ones, from the settings as they are then."""
    with _guard:
        while _connections:
            _connections.popitem()[1].session.close()


def _forget_connections() -> None:
    """A forked process must not share its parent's sockets."""
    global _guard
    _guard = threading.Lock()
    _connections.clear()


atexit.register(close_connections)
os.register_at_fork(after_in_child=_forget_connections)


def connect_once(endpoint: OssEndpoint, timeout_s: float) -> OssConnection:
    """A connection of the caller's own, which tries nothing again. Raises as `connection`.

    Args:
        timeout_s: for the connection, and again for each answer.
    """
    return _connect(endpoint, is_tried_again=False, connect_timeout_s=timeout_s, read_timeout_s=timeout_s)


def _connect(
    endpoint: OssEndpoint,
    *,
    is_tried_again: bool = True,
    connect_timeout_s: float = _CONNECT_TIMEOUT_S,
    read_timeout_s: float = _READ_TIMEOUT_S,
) -> OssConnection:
    try:
        import anycrc  # noqa: F401
        from alibabacloud_oss_v2 import Client, config, retry
        from alibabacloud_oss_v2.transport import RequestsHttpClient
    except ImportError as error:
        raise StoreUnavailable(
            f"oss://{endpoint.name}",
            f"alibabacloud-oss-v2 or anycrc is not installed ({error})",
            "Install it: pip install 'video-assets[oss]'.",
        ) from error
    settings = load_settings()
    region = endpoint.region or settings.oss_region
    if region is None:
        raise StoreUnavailable(
            f"oss://{endpoint.name}",
            "the endpoint does not say its region, and OSS_REGION is not set",
            "Set OSS_REGION to the bucket's region, as in cn-hangzhou.",
        )
    keys, session = provider(settings, region), _session()
    options = config.load_default()
    options.region = region
    options.endpoint = endpoint.name
    options.disable_ssl = endpoint.is_loopback
    options.use_path_style = endpoint.takes_path_style
    options.credentials_provider = keys
    options.retryer = _retryer(keys) if is_tried_again else retry.NopRetryer()
    options.http_client = RequestsHttpClient(
        session=session, connect_timeout=connect_timeout_s, readwrite_timeout=read_timeout_s
    )
    client = Client(options)
    options.disable_upload_crc64_check = True
    return OssConnection(client, Client(options), session, keys, region, settings.oss_list_max_keys)


def _session() -> Any:
    """A session that sends and takes bytes as they are."""
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_connections=_CONNECTIONS, pool_maxsize=_CONNECTIONS))
    session.mount("http://", HTTPAdapter(pool_connections=_CONNECTIONS, pool_maxsize=_CONNECTIONS))
    # An entry of ~/.netrc would take the place of the signature.
    session.auth = lambda request: request
    session.hooks["response"].append(_keep_encoded)
    return session


def _keep_encoded(response: Any, **_: Any) -> None:
    """An object stored with `Content-Encoding: gzip` is read as it lies: so are its length and CRC64."""
    response.raw.headers.pop("Content-Encoding", None)


def _retryer(keys: RenewedKeys) -> Any:
    from alibabacloud_oss_v2 import exceptions, retry
    from requests import RequestException

    class Retryer(retry.StandardRetryer):  # type: ignore[misc, unused-ignore]
        """Tries again what another try may mend, and an expired token once it could be renewed."""

        def is_error_retryable(self, error: Exception) -> bool:
            if isinstance(error, exceptions.ServiceError):
                if error.code in TOKEN_CODES:
                    return keys.renew()
                return error.status_code >= 500 or error.status_code in (408, 429)
            # A refusal whose body breaks off comes as the bare error of requests.
            mended = exceptions.RequestError | exceptions.ResponseError | exceptions.InconsistentError
            return isinstance(error, mended | RequestException)

        def retry_delay(self, attempt: int, error: Exception) -> float:
            asked = (getattr(error, "headers", None) or {}).get("Retry-After", "")
            delay = float(super().retry_delay(attempt, error))
            return max(delay, min(float(asked), MAX_RETRY_AFTER_S)) if asked.isdigit() else delay

    return Retryer(max_attempts=ATTEMPTS)

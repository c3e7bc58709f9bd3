"""Where the keys for OSS come from: settings, a RAM role taken through STS, or the role of the ECS machine.

Each source is a `CredentialsProvider` of alibabacloud-oss-v2, asked before every attempt of a request. Temporary keys
are renewed some minutes before they end, and at once when OSS says that they have ended.
"""

from __future__ import annotations

import base64
import hmac
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from video_assets.settings import Settings, load_settings
from video_assets.storage.object_store import StoreUnavailable

METADATA_URL = "http://100.100.100.200"
"""Where every ECS machine asks for its own facts."""

RENEW_BEFORE = timedelta(minutes=5)
_TIMEOUT_S = 3.0
_SESSION_S = 3600
_ITEM = "credentials for OSS"


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """One pair of keys; with a token they are temporary and, where that is known, end at a time."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


class RenewedKeys:
    """Keys from a source that is asked again when they end. Threads share it.

    Args:
        fetch: asks the source.
        where: the source in words.
    """

    def __init__(self, fetch: Callable[[], AccessKeys], where: str = "of the settings") -> None:
        self._fetch = fetch
        self.where = where
        self._keys: AccessKeys | None = None
        self._guard = threading.Lock()
        self._given = threading.local()

    def get_credentials(self) -> Any:
        """The present keys as the SDK wants them.

        Raises:
            StoreUnavailable: there are none.
        """
        from alibabacloud_oss_v2.types import Credentials

        with self._guard:
            keys = self._keys = self._given.keys = self._renewed()
        return Credentials(keys.access_key_id, keys.secret, keys.token)

    def present(self) -> AccessKeys:
        """The present keys; raises as `get_credentials`."""
        with self._guard:
            self._keys = self._renewed()
            return self._keys

    def _renewed(self) -> AccessKeys:
        keys = self._keys
        left = keys.expires_at - datetime.now(UTC) if keys and keys.expires_at else None
        if keys is None or (left is not None and left < RENEW_BEFORE):
            try:
                return self._fetch()
            except StoreUnavailable:
                # The source may answer again before the keys end.
                if keys is None or left is None or left <= timedelta():
                    raise
        return keys

    def renew(self) -> bool:
        """Asks the source again, after OSS has refused this thread's token as expired; whether there are other keys.

        Another thread may have asked already.
        """
        with self._guard:
            refused: AccessKeys = self._given.keys
            if self._keys == refused:
                self._keys = self._fetch()
            return self._keys != refused


def provider(settings: Settings, region: str) -> RenewedKeys:
    """Keys as the settings say: a pair, a pair that takes a role, or else the role of this ECS machine."""
    if settings.oss_access_key_id is None and settings.oss_access_key_secret is None:
        return RenewedKeys(machine_role_keys, "of the RAM role of this machine")
    if settings.oss_role_arn:
        arn = settings.oss_role_arn
        sts = f"https://sts.{region}.aliyuncs.com"
        return RenewedKeys(lambda: assume_role(_keys_of_settings(), arn, sts), f"of the RAM role {arn}")
    return RenewedKeys(_keys_of_settings)


def _keys_of_settings() -> AccessKeys:
    """Read anew each time: a token renewed in `.env` is found by a run under way."""
    settings = load_settings()
    if not settings.oss_access_key_id or not settings.oss_access_key_secret:
        missing = "OSS_ACCESS_KEY_SECRET" if settings.oss_access_key_id else "OSS_ACCESS_KEY_ID"
        raise StoreUnavailable(_ITEM, f"{missing} is not set", "Set it, or take both keys away to use a role.")
    token = settings.oss_session_token
    return AccessKeys(
        settings.oss_access_key_id.get_secret_value(),
        settings.oss_access_key_secret.get_secret_value(),
        token.get_secret_value() if token else None,
    )


def machine_role_keys(url: str = METADATA_URL) -> AccessKeys:
    """The keys of the RAM role of this ECS machine, from its metadata service (hardened mode).

    Raises:
        StoreUnavailable: no such machine, or one without a role.
    """
    import requests

    remedy = "Set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or run on an ECS machine with a RAM role attached to it."
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy cannot reach it
            lifetime = {"X-aliyun-ecs-metadata-token-ttl-seconds": "300"}
            token = session.put(f"{url}/latest/api/token", headers=lifetime, timeout=_TIMEOUT_S)
            token.raise_for_status()
            headers = {"X-aliyun-ecs-metadata-token": token.text}
            place = f"{url}/latest/meta-data/ram/security-credentials/"
            role = session.get(place, headers=headers, timeout=_TIMEOUT_S)
            role.raise_for_status()
            said = session.get(place + quote(role.text.strip()), headers=headers, timeout=_TIMEOUT_S)
            said.raise_for_status()
            return _temporary(said.json())
    except (requests.RequestException, KeyError, ValueError) as error:
        cause = f"none are set, and this machine has no RAM role ({type(error).__name__})"
        raise StoreUnavailable(_ITEM, cause, remedy) from None


def assume_role(keys: AccessKeys, role_arn: str, sts_url: str) -> AccessKeys:
    """Temporary keys for a RAM role: AssumeRole of STS (version 2015-04-01, RPC signature with HMAC-SHA1).

    Raises:
        StoreUnavailable: STS refused or was not reached.
    """
    import requests

    asked = {
        "Action": "AssumeRole",
        "Version": "2015-04-01",
        "Format": "JSON",
        "RoleArn": role_arn,
        "RoleSessionName": "video-assets",
        "DurationSeconds": str(_SESSION_S),
        "AccessKeyId": keys.access_key_id,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": uuid.uuid4().hex,
        "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if keys.token:
        asked["SecurityToken"] = keys.token
    canonical = urlencode(sorted(asked.items()), quote_via=quote, safe="~")
    to_sign = f"POST&%2F&{quote(canonical, safe='~')}"
    asked["Signature"] = base64.b64encode(hmac.digest(f"{keys.secret}&".encode(), to_sign.encode(), "sha1")).decode()
    try:
        # In the body, so that no URL in a log holds it.
        answer = requests.post(sts_url, data=asked, timeout=10)
        said = answer.json()
        if answer.status_code == 200:
            return _temporary(said["Credentials"])
        cause = f"STS does not give the role {role_arn}: {said.get('Code')}: {said.get('Message')}"
    except (requests.RequestException, KeyError, ValueError, AttributeError) as error:
        cause = f"STS at {sts_url} gives no role ({type(error).__name__})"
    raise StoreUnavailable(_ITEM, cause, "Correct OSS_ROLE_ARN, or let the role trust the owner of OSS_ACCESS_KEY_ID.")


def _temporary(said: dict[str, str]) -> AccessKeys:
    ends = datetime.fromisoformat(said["Expiration"])
    return AccessKeys(said["AccessKeyId"], said["AccessKeySecret"], said["SecurityToken"], ends)

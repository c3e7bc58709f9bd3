"""The probe of a bucket of S3: see `bucket_probe`."""

from __future__ import annotations

from typing import Any

from video_assets.storage.bucket_probe import PROBE_TIMEOUT_S, AnswerDate, BucketProbe, CredentialFacts, masked
from video_assets.storage.object_store import StoreError
from video_assets.storage.s3_clients import Patience, connect_with
from video_assets.storage.s3_errors import S3Fault, s3_faults, store_error
from video_assets.storage.s3_listing import list_page
from video_assets.storage.s3_uri import parse_store_uri

_ONCE = Patience(attempts=1, connect_timeout_s=PROBE_TIMEOUT_S, read_timeout_s=PROBE_TIMEOUT_S)

_SOURCES = {
    "env": "of the environment",
    "shared-credentials-file": "of the profile {profile}",
    "config-file": "of the profile {profile}",
    "assume-role": "of the role of the profile {profile}",
    "assume-role-with-web-identity": "of a role by web identity (IRSA)",
    "sso": "of the SSO session of the profile {profile}",
    "login": "of the login session of the profile {profile}",
    "custom-process": "of the credential process of the profile {profile}",
    "container-role": "of the container's role",
    "iam-role": "of the machine's role",
}
"""Where boto3's chain found a key, by its own name for the place."""


def probe_s3(uri: str) -> BucketProbe:
    """Asks for one key.

    Raises:
        StoreError: the URI or what is configured for it is wrong, so that nothing could be asked.
    """
    bucket, prefix = parse_store_uri(uri)
    place = f"s3://{bucket}"
    clients = connect_with(bucket, _ONCE)
    date = AnswerDate()

    def heard(response_dict: Any, **_: Any) -> None:
        headers = (response_dict or {}).get("headers", {})
        date.note(headers.get("date") or headers.get("Date"))

    clients.boto.meta.events.register("response-received.s3.ListObjectsV2", heard)
    fault: StoreError | None = None
    try:
        with s3_faults():
            list_page(bucket, prefix, "", "", "", clients, max_keys=1)
    except S3Fault as error:
        fault = store_error(error, place, "s3:ListBucket")
    except StoreError as error:
        fault = error
    return BucketProbe(place, clients.endpoint, clients.region, _credentials(clients.session), date.ahead, fault)


def _credentials(session: Any) -> CredentialFacts:
    found = session.get_credentials()
    frozen = found.get_frozen_credentials()
    where = _SOURCES.get(found.method, f"({found.method})").format(profile=session.profile_name)
    ends = getattr(found, "_expiry_time", None)
    return CredentialFacts(
        f"the access key {masked(frozen.access_key)} {where}",
        expires_at=ends,
        is_temporary=bool(frozen.token),
        # boto3 reads the environment again too, but it is this process's own.
        is_renewed=hasattr(found, "refresh_needed") and found.method != "env",
    )

"""The probe of a bucket of OSS: see `bucket_probe`."""

from __future__ import annotations

from video_assets.errors import VideoAssetsError
from video_assets.storage.bucket_probe import PROBE_TIMEOUT_S, AnswerDate, BucketProbe, CredentialFacts, masked
from video_assets.storage.oss_client import connect_once
from video_assets.storage.oss_credentials import RenewedKeys
from video_assets.storage.oss_errors import cause_of, typed
from video_assets.storage.oss_uri import check_prefix, parse_oss_uri


def probe_oss(uri: str) -> BucketProbe:
    """Asks for one key.

    Raises:
        StoreError: the URI or what is configured for it is wrong, or there are no keys: nothing could be asked.
    """
    place = check_prefix(parse_oss_uri(uri, uri), uri)
    connection = connect_once(place.endpoint, PROBE_TIMEOUT_S)
    try:
        from alibabacloud_oss_v2 import ListObjectsV2Request
        from alibabacloud_oss_v2.exceptions import BaseError

        credentials = _facts(connection.keys)
        date = AnswerDate()
        fault: VideoAssetsError | None = None
        prefix = f"{place.path}/" if place.path else ""
        try:
            answer = connection.client.list_objects_v2(ListObjectsV2Request(place.bucket, prefix=prefix, max_keys=1))
            date.note(answer.headers.get("Date"))
        except BaseError as error:
            date.note((getattr(cause_of(error), "headers", None) or {}).get("Date"))
            fault = typed(error, place, place.uri)
    finally:
        connection.session.close()
    scheme = "http" if place.endpoint.is_loopback else "https"
    where = f"{scheme}://{place.endpoint.name}"
    return BucketProbe(
        place.bucket_uri,
        where,
        connection.region,
        credentials,
        date.ahead,
        fault,
    )


def _facts(keys: RenewedKeys) -> CredentialFacts:
    present = keys.present()
    return CredentialFacts(
        f"the access key {masked(present.access_key_id)} {keys.where}",
        expires_at=present.expires_at,
        is_temporary=present.token is not None,
        is_renewed=present.expires_at is not None,
    )

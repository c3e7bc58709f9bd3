"""What an `oss://<endpoint>/<bucket>/<key>` URI names, and what is wrong with one that names nothing."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from video_assets.storage.object_keys import segment_fault
from video_assets.storage.object_store import InvalidUri

_ENDPOINT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_BUCKET = re.compile(r"[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]")
_ALIYUN = re.compile(
    r"((?P<bucket>[a-z0-9-]+)\.)?"
    r"(oss-(?P<region>[a-z]{2}-[a-z0-9-]+?)(?P<internal>-internal)?|(?P<dual_stack>[a-z]{2}-[a-z0-9-]+)\.oss|oss-accelerate(-overseas)?)"
    r"\.aliyuncs\.com(:\d+)?"
)
"""Alibaba's own endpoints: public, internal, dual-stack and accelerated."""

_PLAIN_REGION = re.compile(r"[a-z]{2}-[a-z]+(-[0-9])?")

EXAMPLE = "oss://oss-cn-hangzhou.aliyuncs.com/bucket/key"


@dataclass(frozen=True, slots=True)
class OssEndpoint:
    """A host, with a port where it is not the usual one."""

    name: str

    @property
    def host(self) -> str:
        """The name without the port."""
        return self.name.partition(":")[0]

    @property
    def region(self) -> str | None:
        """The region that one of Alibaba's own endpoints names; None for an accelerated one and any other host.

        None, too, for special zones (finance, government, local to a city): their endpoints are named otherwise.
        """
        match = _ALIYUN.fullmatch(self.name)
        named = (match["region"] or match["dual_stack"] or "") if match else ""
        return named if _PLAIN_REGION.fullmatch(named) and "finance" not in named else None

    @property
    def is_internal(self) -> bool:
        """Whether only machines of the same region of Alibaba Cloud reach it."""
        match = _ALIYUN.fullmatch(self.name)
        return bool(match and match["internal"])

    @property
    def other_door(self) -> str | None:
        """The public endpoint of an internal one, and the other way round."""
        if self.region is None:
            return None
        return f"oss-{self.region}{'' if self.is_internal else '-internal'}.aliyuncs.com"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, which is spoken to without TLS."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def takes_path_style(self) -> bool:
        """Whether the bucket goes into the path: an address has no place for it in front."""
        try:
            return bool(ipaddress.ip_address(self.host))
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, slots=True)
class OssPlace:
    """A bucket at an endpoint, and a key or prefix in it (no slash at either end; empty for the whole bucket)."""

    endpoint: OssEndpoint
    bucket: str
    path: str

    @property
    def uri(self) -> str:
        """The URI, percent-encoded to pure ASCII where a key needs it."""
        return self.uri_of(self.path) if self.path else self.bucket_uri

    @property
    def bucket_uri(self) -> str:
        """The URI of the whole bucket."""
        return f"oss://{self.endpoint.name}/{self.bucket}"

    def uri_of(self, full_key: str) -> str:
        """The URI of a key of the bucket. What may stand in a path as it is (RFC 3986) does."""
        return f"{self.bucket_uri}/{quote(full_key, safe=_SAFE, errors='surrogatepass')}"


_SAFE = "/=:@+,~!$&'()*;"


def check_endpoint(item: str, name: str) -> OssEndpoint:
    """The endpoint, without scheme, path or bucket.

    Args:
        item: what names it (a URI, a setting), for errors.

    Raises:
        InvalidUri: saying what to write instead.
    """
    scheme, separator, rest = name.partition("://")
    if separator:
        raise InvalidUri(item, f"names the endpoint with its scheme {scheme}://", f"Write {rest.rstrip('/')} alone.")
    match = _ALIYUN.fullmatch(name)
    if match and match["bucket"]:
        bucket, endpoint = match["bucket"], name.partition(".")[2]
        raise InvalidUri(
            item,
            f"has the bucket '{bucket}' in front of the endpoint",
            f"Write the endpoint {endpoint} and the bucket after it: oss://{endpoint}/{bucket}/….",
        )
    if not _ENDPOINT.fullmatch(name):
        raise InvalidUri(item, f"names no endpoint: {name!r}", f"Write a host, as in {EXAMPLE}.")
    return OssEndpoint(name.lower())


def parse_oss_uri(uri: str, shown: str) -> OssPlace:
    """The place that a URI names.

    Args:
        shown: the URI without what may be secret, for errors.

    Raises:
        InvalidUri: saying what to write instead.
    """
    rest = uri.partition("://")[2]
    if uri.partition("://")[0].lower() != "oss" or not rest:
        raise InvalidUri(shown, "names no endpoint and no bucket", f"Write it as {EXAMPLE}.")
    if "?" in rest or "#" in rest:
        raise InvalidUri(shown, "holds '?' or '#'", "Write them as %3F and %23.")
    host, _, path = rest.partition("/")
    if "@" in host:
        raise InvalidUri(shown, "holds a user or password", "Set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET instead.")
    if host in ("http:", "https:"):
        meant = path.removeprefix("/")
        raise InvalidUri(shown, f"names the endpoint with its scheme {host}//", f"Write it as oss://{meant}.")
    if "." not in host and ":" not in host and host != "localhost":
        raise InvalidUri(
            shown,
            f"names no endpoint: '{host}' is no host",
            f"Write the endpoint before the bucket: oss://oss-cn-hangzhou.aliyuncs.com/{rest.rstrip('/')}.",
        )
    endpoint = check_endpoint(shown, host)
    bucket, _, key = path.partition("/")
    if not _BUCKET.fullmatch(bucket):
        cause = f"names the bucket {bucket!r}, which none can have" if bucket else "names no bucket"
        raise InvalidUri(shown, cause, f"Write it as {EXAMPLE}; a bucket is 3 to 63 of a-z, 0-9 and '-'.")
    return OssPlace(endpoint, bucket, _decoded(key, shown))


def _decoded(path: str, shown: str) -> str:
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise InvalidUri(shown, "is not UTF-8 once decoded", "OSS keys are UTF-8: correct the URI.") from None


def check_prefix(place: OssPlace, shown: str) -> OssPlace:
    """The place as the root of a store: without a trailing slash, and with no segment that means another folder.

    Raises:
        InvalidUri: naming the reason.
    """
    prefix = place.path.rstrip("/")
    fault = segment_fault(prefix) if prefix else ""
    if fault:
        raise InvalidUri(shown, f"has a prefix that {fault}", "Write the prefix without it.")
    return OssPlace(place.endpoint, place.bucket, prefix)

"""The forms that replies of a fleet's batch API have. Nothing in them is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from video_assets.sources.fleet.errors import UnexpectedReply

QUOTED = 160
"""How much of a reply an error shows."""

URL_BYTES = 8192
"""A body up to this size may be a URL; a bag is larger."""

_NAME = re.compile(r"[\w][\w .,()@+=:-]{0,250}\.bag", re.ASCII)


def bag_name(content_type: str, body: bytes) -> str:
    """The bag's name in a reply to `/v1/video`: JSON `{"filename": …}`, a JSON string, or text ending in `.bag`.

    Raises:
        UnexpectedReply: of another form, or a name that could be a path.
    """
    text = body.decode("utf-8", "replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    name = value.get("filename") if isinstance(value, Mapping) else value
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UnexpectedReply("reply to /v1/video", f"names no bag: {quoted(content_type, body)}", _ASK)
    return name


def presigned_url(content_type: str, body: bytes) -> str | None:
    """The URL that a body is: text, JSON `{"url": …}` or a JSON string, or the first bytes of a binary reply.

    None where the body is no URL, and so may be the bag itself.

    Raises:
        UnexpectedReply: JSON without one.
    """
    head = body[:URL_BYTES].lstrip()
    if head[:1] in (b"{", b'"', b"["):
        try:
            value = json.loads(head)
        except ValueError:
            raise UnexpectedReply("reply to /v1/download", f"is damaged: {quoted(content_type, body)}", _ASK) from None
        url = value.get("url") if isinstance(value, Mapping) else value
        return checked_url(url if isinstance(url, str) else "", content_type, body)
    if head[:8].lower().startswith((b"http://", b"https://")):
        return checked_url(re.split(rb"[\s\0]", head, maxsplit=1)[0].decode("ascii", "replace"), content_type, body)
    return None


def checked_url(url: str, content_type: str, body: bytes) -> str:
    """The URL if it is one of http or https with a host.

    Raises:
        UnexpectedReply: it is not.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii() and url.isprintable()
    except ValueError:
        good = False
    if not good:
        raise UnexpectedReply("reply to /v1/download", f"leads nowhere: {quoted(content_type, body)}", _ASK)
    return url


def quoted(content_type: str, body: bytes) -> str:
    """The type and beginning of a reply, for an error. A presigned URL's query is a secret and is left out."""
    text = body[: QUOTED * 4].decode("utf-8", "replace")
    text = re.sub(r"(https?://[^\s?\"]*)\?[^\s\"]*", r"\1?…", text)
    shown = "".join(char if char.isprintable() else "·" for char in text[:QUOTED])
    return f"{content_type or 'no type'}, {shown!r}"


_ASK = "Compare it with the service's documentation."

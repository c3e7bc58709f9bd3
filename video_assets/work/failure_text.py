"""An exception in one line that is fit for a table cell: no traceback, no secrets of URLs, valid text."""

from __future__ import annotations

import re

from video_assets.errors import VideoAssetsError

_MAX_CHARACTERS = 500
_URL_PASSWORD = re.compile(r"(\w://)[^\s/@'\"]+@")
_URL_QUERY = re.compile(r"(\w://[^\s?'\"]*)\?[^\s'\"]+")


def describe(error: BaseException) -> str:
    """`error` as `one_line`: a `VideoAssetsError` is its own text, others start with their class."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be read)"
    if not isinstance(error, VideoAssetsError):
        name = type(error).__name__
        text = f"{name}: {text}" if text else name
    return one_line(text)


def one_line(text: str) -> str:
    """`text` as one line of at most 500 characters, without users, passwords and queries (tokens) of URLs."""
    text = _URL_QUERY.sub(r"\1?…", _URL_PASSWORD.sub(r"\1", text))
    # Control characters, and the lone surrogates of undecodable file names, which Arrow refuses.
    text = "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"

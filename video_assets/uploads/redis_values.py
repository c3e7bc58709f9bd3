"""A checkpoint in Redis: one hash for each watched folder and store."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from video_assets.uploads.checkpoint import Values
from video_assets.uploads.errors import CheckpointAway, InvalidWatch

TIMEOUT_S = 10.0
"""For a connection and for each answer."""


class RedisValues(Values):
    """Texts by name in the hash `hash_name`. Whether they survive Redis's own end is a setting of Redis.

    Raises:
        InvalidWatch: the extra is not installed, or the URI is none of Redis.
    """

    def __init__(self, uri: str, hash_name: str) -> None:
        try:
            import redis
        except ImportError:
            raise InvalidWatch("redis", "is not installed", "Run: pip install 'video-assets[redis]'") from None
        self._hash = hash_name
        self._shown = f"the checkpoint redis://{urlsplit(uri).hostname or ''}"
        try:
            self._client: Any = redis.Redis.from_url(
                uri, decode_responses=True, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
            )
        except ValueError:
            remedy = "Write redis://HOST:6379/0, or rediss:// for TLS."
            raise InvalidWatch(self._shown, "is no address of Redis", remedy) from None

    def get(self, name: str) -> str | None:
        with self._errors():
            found = self._client.hget(self._hash, name)
        return None if found is None else str(found)

    def put(self, name: str, text: str) -> None:
        with self._errors():
            self._client.hset(self._hash, name, text)

    def delete(self, names: list[str]) -> None:
        with self._errors():
            self._client.hdel(self._hash, *names)

    def below(self, prefix: str) -> Iterator[tuple[str, str]]:
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        with self._errors():
            return iter(list(self._client.hscan_iter(self._hash, match=pattern, count=1000)))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as error:
            # Not its text: it may quote the address, password and all.
            remedy = "Start it, or correct the network, the address or the password."
            raise CheckpointAway(self._shown, f"cannot be used ({type(error).__name__})", remedy) from None

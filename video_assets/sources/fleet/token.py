"""The bearer token of a fleet's batch API: from a setting, or from a file that may be renewed while a run goes on."""

from __future__ import annotations

import base64
import binascii
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from pydantic import SecretStr

from video_assets.sources.fleet.errors import FleetStopped

_GO_ON = "Renew it and run again: what is done stays done."


class FleetToken:
    """Gives the token that is valid now.

    Args:
        text: the token itself.
        file: where it stands instead; read again whenever the file changes.

    Raises:
        FleetStopped: neither is given.
    """

    def __init__(self, text: SecretStr | None = None, file: Path | None = None) -> None:
        if text is None and file is None:
            raise FleetStopped("VIDEO_ASSETS_FLEET_TOKEN", "is not set", "Set it, or VIDEO_ASSETS_FLEET_TOKEN_FILE.")
        self._text, self._file = text, file
        self._seen: tuple[int, int] | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"FleetToken({self.where})"

    @property
    def where(self) -> str:
        """What names the token to a person."""
        return f"token in {self._file}" if self._file is not None else "VIDEO_ASSETS_FLEET_TOKEN"

    def value(self) -> str:
        """The token.

        Raises:
            FleetStopped: it is expired, or cannot be read.
        """
        with self._lock:
            if self._file is not None:
                self._read(self._file)
        assert self._text is not None
        token = self._text.get_secret_value()
        expires = expiry(token)
        if expires is not None and expires <= datetime.fromtimestamp(time.time(), UTC):
            raise FleetStopped(self.where, f"expired at {expires:%Y-%m-%d %H:%M:%S} UTC", _GO_ON)
        return token

    def _read(self, file: Path) -> None:
        try:
            found = file.stat()
            if (found.st_mtime_ns, found.st_size) == self._seen:
                return
            text = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise FleetStopped(self.where, f"cannot be read: {error}", _GO_ON) from None
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise FleetStopped(self.where, "is no token: it is empty or holds spaces or other signs", _GO_ON)
        self._text, self._seen = SecretStr(text), (found.st_mtime_ns, found.st_size)


def expiry(token: str) -> datetime | None:
    """When a JWT (RFC 7519) expires; None for a token that does not say. Its signature is the service's business."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, binascii.Error):
        return None

"""Handles of MaxCompute from the settings, and calls that end: retries have a time limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from video_assets.settings import Settings, SettingsError
from video_assets.table_store.odps_errors import is_passing

RETRY_S = 90.0
"""How long a call is tried again before its error is told."""

_CONNECT_S, _READ_S = 10, 120

T = TypeVar("T")


def open_handle(settings: Settings) -> Any:
    """A handle (`odps.ODPS`) for a plain process. Nothing is asked of the service yet.

    Raises:
        SettingsError: a variable is missing, or the package is.
    """
    needed = ("odps_access_id", "odps_access_key", "odps_project", "odps_endpoint")
    if missing := [name.upper() for name in needed if getattr(settings, name) is None]:
        cause = "is not set, and tables in ODPS need it" if len(missing) == 1 else "are not set, and ODPS needs them"
        raise SettingsError(", ".join(missing), cause, "Set it." if len(missing) == 1 else "Set them.")
    try:
        from odps import ODPS, options
        from odps.accounts import StsAccount
    except ImportError:
        remedy = "Run: pip install 'video-assets[odps]'"
        raise SettingsError("VIDEO_ASSETS_TABLES", "odps needs a package that is not installed", remedy) from None
    assert settings.odps_access_id is not None
    assert settings.odps_access_key is not None
    options.connect_timeout, options.read_timeout = _CONNECT_S, _READ_S
    keys = (settings.odps_access_id.get_secret_value(), settings.odps_access_key.get_secret_value())
    places = {
        "project": settings.odps_project,
        "endpoint": settings.odps_endpoint,
        "tunnel_endpoint": settings.odps_tunnel_endpoint,
        "region_name": settings.odps_region_name,
        # Asked for otherwise, though nothing of ours shows it.
        "logview_host": settings.odps_endpoint,
        # pyodps would keep the keys and the endpoints for whatever handle this process makes next.
        "overwrite_global": False,
    }
    if settings.odps_sts_token is not None:
        token = settings.odps_sts_token.get_secret_value()
        return ODPS(StsAccount(*keys, token, expired_hours=None), **places)
    return ODPS(*keys, **places)


def patiently(call: Callable[[], T]) -> T:
    """The call's result; tried again for up to RETRY_S after errors that may pass."""
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    retrying = Retrying(
        retry=retry_if_exception(is_passing),
        stop=stop_after_delay(RETRY_S),
        wait=wait_random_exponential(0.2, max=10),
        reraise=True,
    )
    return retrying(call)

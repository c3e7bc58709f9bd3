"""What MaxCompute refuses, in words: who is at fault, and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from video_assets.errors import raise_alone
from video_assets.table_store.table_store import TableError

PRIVILEGES = "odps:CreateTable, Describe, Select, Alter, Update and Download"
"""What a deployment's account needs."""


class OdpsError(TableError):
    """MaxCompute could not do what was asked."""


class OdpsUnavailable(OdpsError):
    """MaxCompute did not answer, or with errors of its own, for as long as we try."""


class OdpsNotPermitted(OdpsError):
    """The access key is not accepted, or lacks a privilege."""


@contextmanager
def in_words(item: str, handle: Any) -> Iterator[None]:
    """Turns errors of pyodps and of the network into ours. No credential is in them."""
    import requests
    from odps.errors import BaseODPSError

    try:
        yield
    except requests.RequestException as error:
        cause = f"{_place(handle)} cannot be reached: {type(error).__name__}"
        remedy = "Look at ODPS_ENDPOINT and ODPS_TUNNEL_ENDPOINT, and at the way there."
        raise_alone(OdpsUnavailable(item, cause, remedy))
    except BaseODPSError as error:
        raise_alone(_worded(item, error, handle))


def is_missing(error: Exception) -> bool:
    """Whether an error says that a table or partition is not there."""
    from odps.errors import NoSuchObject, NoSuchProject, NoSuchTable

    return isinstance(error, NoSuchObject | NoSuchTable) and not isinstance(error, NoSuchProject)


def is_passing(error: BaseException) -> bool:
    """Whether to try again: what the network does, and what the service says of itself."""
    import requests
    from odps.errors import BaseODPSError

    if isinstance(error, BaseODPSError):
        status = error.status_code
        return isinstance(error, requests.RequestException) or (
            status is not None and (status in (408, 429) or status >= 500)
        )
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


def _worded(item: str, error: Any, handle: Any) -> OdpsError:
    from odps.errors import NoPermission, NoSuchProject, Unauthorized

    text = scrubbed(str(error.args[0]), handle)
    if isinstance(error, NoSuchProject) or "Project not found" in text:
        return OdpsError(item, f"there is no project {handle.project!r} at {_place(handle)}", "Correct ODPS_PROJECT.")
    if isinstance(error, Unauthorized) or re.search(r"ODPS-04100\d\d|AuthorizationRequired", text):
        remedy = "Correct ODPS_ACCESS_ID and ODPS_ACCESS_KEY (and ODPS_STS_TOKEN, which expires)."
        return OdpsNotPermitted(item, f"the access key is not accepted: {text}", remedy)
    if isinstance(error, NoPermission) or "ODPS-0420095" in text or "NO privilege" in text:
        remedy = f"Let the account have {PRIVILEGES} in project {handle.project}."
        return OdpsNotPermitted(item, f"is not permitted: {text}", remedy)
    if is_passing(error):
        return OdpsUnavailable(item, f"MaxCompute answers with errors of its own: {text}", "Run it again later.")
    return OdpsError(item, f"MaxCompute refuses: {text}", "Mend what it says, and run it again.")


def scrubbed(text: str, handle: Any) -> str:
    """The text without the account's keys."""
    account = handle.account
    for name in ("access_id", "secret_access_key", "sts_token"):
        value = getattr(account, name, None)
        if value:
            text = text.replace(str(value), "***")
    return " ".join(text.split())


def _place(handle: Any) -> str:
    return str(handle.endpoint).rpartition("@")[2]

"""An answer of the MaxCompute test server other than success."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape


class OdpsServerError(Exception):
    """Becomes `<Error>`, or JSON where the tunnel answers.

    Args:
        status: the HTTP status.
        code: as MaxCompute's documentation names it.
        message: for people.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message

    def xml(self, request_id: str) -> bytes:
        """The body of an answer of the service."""
        said = {"Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": "127.0.0.1"}
        elements = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in said.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{elements}</Error>'.encode()

    def json(self) -> bytes:
        """The body of an answer of the tunnel."""
        return json.dumps({"Code": self.code, "Message": self.message}).encode()


def no_such_table(name: str) -> OdpsServerError:
    """The table is not there."""
    return OdpsServerError(404, "NoSuchObject", f"ODPS-0130131:[1,1] Table not found - table {name} cannot be resolved")


def no_such_partition(spec: str) -> OdpsServerError:
    """The partition is not there."""
    return OdpsServerError(404, "NoSuchPartition", f"ODPS-0110061: The specified partition does not exist: {spec}")


def not_understood(what: str) -> OdpsServerError:
    """This server does not do it."""
    return OdpsServerError(400, "InvalidArgument", f"ODPS-0420411: the test server does not know: {what}")

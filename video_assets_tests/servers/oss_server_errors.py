"""An answer of the OSS test server other than success."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape


class OssError(Exception):
    """Becomes `<Error>` in the body, or in the header `x-oss-err` of an answer to HEAD.

    Args:
        status: the HTTP status.
        code: as the documentation of OSS names it.
        message: for people.
        ec: the finer error code that OSS adds.
        fields: further elements.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        ec: str = "",
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.ec = ec
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})

    def xml(self, request_id: str, host: str) -> bytes:
        """The body."""
        said = {"Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": host, "EC": self.ec}
        elements = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in {**said, **self.fields}.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{elements}</Error>'.encode()

"""An HTTP proxy before a test server that answers wrongly on demand: refusals, cut and changed bodies.

The `Host` header passes unchanged, so signatures made for the proxy's address hold behind it.
"""

from __future__ import annotations

import http.client
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from video_assets_tests.servers.loopback import LoopbackServer


@dataclass
class Fault:
    """What happens to the next `times` requests whose line (`GET /bucket/key?query`) matches `request`, and of whose
    headers the name of one matches `header`, where that is given.

    One of: an answer `status` with S3's `code` instead of the server's; the body cut after `cut_at` bytes, under the
    full length; the byte at `corrupt_at` changed; the byte at `corrupt_sent_at` of the request's body changed; headers
    whose names match `forgets` passed on in neither direction, as if the server did not know them.
    """

    request: str
    times: int = 1
    status: int = 0
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    corrupt_at: int | None = None
    corrupt_sent_at: int | None = None
    forgets: str = ""
    header: str = ""


class FaultProxy(LoopbackServer):
    """A proxy of the server at `url`.

    Attributes:
        faults: what is still to go wrong; the first that matches is taken.
        requests: method and target of every request so far.
    """

    def __init__(self, url: str) -> None:
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self._guard = threading.Lock()
        self._server = urlsplit(url).netloc
        super().__init__(self._handler())

    def _take(self, request: str, headers: list[str]) -> Fault | None:
        with self._guard:
            self.requests.append(request)
            for fault in self.faults:
                has_header = not fault.header or any(re.fullmatch(fault.header, name.lower()) for name in headers)
                if fault.times and has_header and re.search(fault.request, request):
                    fault.times -= 1
                    return fault
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self._body()
                fault = proxy._take(f"{self.command} {self.path}", self.headers.keys())
                if fault and fault.status:
                    self._answer(fault.status, fault.headers, _error(fault.code))
                    return
                connection = http.client.HTTPConnection(proxy._server, timeout=60)
                forgets = re.compile(fault.forgets if fault and fault.forgets else "connection")
                headers = {n: v for n, v in self.headers.items() if not forgets.fullmatch(n.lower())}
                headers.pop("Connection", None)
                if body and fault and fault.corrupt_sent_at is not None:
                    at = fault.corrupt_sent_at
                    body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                data = bytearray(answer.read())
                told = {n: v for n, v in answer.getheaders() if not forgets.fullmatch(n.lower())}
                kept = {n: v for n, v in told.items() if n.lower() not in _OWN}
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                connection.close()
                if fault and fault.corrupt_at is not None:
                    data[fault.corrupt_at] ^= 0xFF
                self._answer(answer.status, kept, bytes(data), length, fault.cut_at if fault else None)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

            def _body(self) -> bytes | None:
                length = int(self.headers.get("Content-Length", 0))
                return self.rfile.read(length) if length else None

            def _answer(
                self,
                status: int,
                headers: dict[str, str],
                data: bytes,
                length: str | None = None,
                cut: int | None = None,
            ) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[:cut])
                if cut is not None:
                    self.wfile.flush()
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


_OWN = {"content-length", "transfer-encoding", "connection", "server"}
"""Headers that say how the server sent its answer to the proxy, not what it said."""


def _error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>on demand</Message></Error>".encode()

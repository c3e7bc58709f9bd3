"""A small MaxCompute (ODPS) server for tests, on loopback and in memory, strict where the service is strict.

Answers what an unmodified pyodps sends to make, change, list and drop tables, partitions and views, to run SQL, and to
move rows through the tunnel, as records and as Arrow. Signatures of versions 2 and 4 are verified. The service is below
`/api`, the tunnel at the root of the same port. Anything else is a 400 that says what was asked.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, unquote, urlsplit

from video_assets_tests.servers.loopback import LoopbackServer
from video_assets_tests.servers.odps_server_errors import OdpsServerError
from video_assets_tests.servers.odps_server_service import Answer, Service
from video_assets_tests.servers.odps_server_signature import Account, SignedRequest, check_signature
from video_assets_tests.servers.odps_server_tunnel import Tunnel
from video_assets_tests.servers.odps_server_warehouse import Warehouse

PROJECT, REGION = "fleet", "cn-test"


@dataclass
class Fault:
    """What happens to the next requests instead of, or on top of, their answer.

    Attributes:
        operation: which operation it befalls ("CommitUpload"); empty for any.
        times: how many requests it befalls.
        status: answer with this status and `code`, before anything is done.
        delay_s: wait before the answer.
        reset: reset the connection instead of answering; the operation is not done.
        lose_answer: do the operation, then reset the connection.
        cut_at: send so many bytes of the body under its full Content-Length, then close.
    """

    operation: str = ""
    times: int = 1
    status: int = 0
    code: str = "InternalServerError"
    delay_s: float = 0.0
    reset: bool = False
    lose_answer: bool = False
    cut_at: int | None = None


class OdpsServer(LoopbackServer):
    """A server of one project; use it as a context manager.

    Attributes:
        accounts: by access id.
        requests: the operation of each request so far, refused ones included.
        faults: what befalls the next requests; see `Fault`.
        crashes: tracebacks of what this server got wrong.
        warehouse: the tables.
    """

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self.accounts = dict(accounts)
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.crashes: list[str] = []
        self.warehouse = Warehouse()
        self.service = Service(PROJECT, self.warehouse)
        self.tunnel = Tunnel(PROJECT, self.warehouse, self.service)
        self._guard = threading.Lock()
        super().__init__(_handler_of(self))

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, which is the tunnel's endpoint too."""
        return f"127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """What a client is given as endpoint."""
        return f"http://{self.host}/api"

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[Answer, Fault]:
        """What is answered to a request, and what befalls the answer."""
        parts = urlsplit(target, allow_fragments=False)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        is_service = parts.path.startswith("/api/")
        path = [unquote(part) for part in parts.path.removeprefix("/api").strip("/").split("/")]
        fault = Fault()
        try:
            place: Service | Tunnel = self.service if is_service else self.tunnel
            operation = place.operation(method, path, query)
            fault = self._fault(operation)
            if fault.status:
                raise OdpsServerError(fault.status, fault.code, "ODPS-0010000:System internal error - on demand")
            if fault.reset:
                return Answer(), fault
            signed = SignedRequest(method, target.removeprefix("/api") if is_service else target, headers)
            account = check_signature(signed, self.accounts, REGION)
            if path[0] == "projects" and path[1] != PROJECT:
                raise OdpsServerError(404, "NoSuchProject", f"ODPS-0420111: Project not found - '{path[1]}'")
            if operation == "TunnelAddress":
                return Answer(body=self.host.encode()), fault
            return place.do(operation, path, query, body, account.denied), fault
        except OdpsServerError as error:
            kind = "application/xml" if is_service else "application/json"
            content = error.xml(uuid.uuid4().hex) if is_service else error.json()
            return Answer(error.status, content, {"Content-Type": kind}), fault
        except Exception:
            self.crashes.append(traceback.format_exc())
            return Answer(400, b"the test server crashed"), fault

    def _fault(self, operation: str) -> Fault:
        with self._guard:
            self.requests.append(operation)
            for fault in self.faults:
                if fault.times > 0 and fault.operation in ("", operation):
                    fault.times -= 1
                    time.sleep(fault.delay_s)
                    return fault
        return Fault()


def _handler_of(server: OdpsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Small answers wait for nothing.
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _do(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self._body(headers)
            answer, fault = server.answer(self.command, self.path, headers, body)
            if fault.reset or fault.lose_answer:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("x-odps-request-id", uuid.uuid4().hex)
            self.end_headers()
            self.wfile.write(answer.body[: fault.cut_at])
            self.close_connection = self.close_connection or fault.cut_at is not None

        def _body(self, headers: Mapping[str, str]) -> bytes:
            if headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(headers.get("content-length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _do

    return Handler

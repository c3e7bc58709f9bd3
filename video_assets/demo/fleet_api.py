"""A fleet's batch API on two ports of this machine: the service, and the host that presigned URLs lead to.

It speaks every form that the service is known to have, is slow, throttles, breaks connections and lies on demand, and
keeps a log of what it was asked.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "a-token-that-nobody-else-may-see"  # noqa: S105
SECRET_QUERY = "X-Signature=a-signature-that-nobody-may-see"  # noqa: S105


@dataclass(frozen=True)
class Asked:
    """One request: to which port, when, and with which token."""

    port: str
    method: str
    path: str
    query: dict[str, str]
    authorization: str
    at_s: float
    range: str = ""


@dataclass
class FleetApi:
    """What the service has and how it behaves.

    Attributes:
        bags: the bag of a window, by (vehicle, camera, start); others have no footage.
        name_form: of replies to /v1/video: json, string or text.
        way: how a bag is given: redirect-NNN, text, json, binary-url, direct, or chunked: direct, of unknown length.
        polls: how often a bag is not ready yet, by name; `not_ready` is the status then.
        head: whether HEAD is known; else 405.
        faults: statuses to answer with before anything else, by path, used up one by one.
        cuts: after how many bytes the next transfers break off.
        no_footage: the status for a window without footage.
        ranges: whether the presigned host has ranges.
    """

    bags: dict[tuple[str, str, int], bytes] = field(default_factory=dict)
    name_form: str = "json"
    way: str = "redirect-302"
    polls: int = 0
    not_ready: int = 503
    head: bool = True
    faults: dict[str, list[int]] = field(default_factory=dict)
    retry_after: str = "0"
    cuts: list[int] = field(default_factory=list)
    no_footage: int = 404
    ranges: bool = True
    lie_about_length: bool = False
    token: str = TOKEN
    raw_reply: tuple[str, bytes] | None = None
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    presigned: str = ""
    _polled: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def windows_asked(self) -> list[tuple[str, str, int]]:
        """Every window that was asked for, in order."""
        found = (asked.query for asked in self.asked if asked.path == "/v1/video")
        return [(query["vehicle"], query["camera"], int(query["startTime"])) for query in found]

    def bag(self, name: str) -> bytes:
        vehicle, camera, start = name.removesuffix(".bag").rsplit("_", 2)
        return self.bags[vehicle, camera, int(start)]

    def note(self, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)

    def fault(self, path: str) -> int:
        with self._lock:
            waiting = self.faults.get(path) or []
            return waiting.pop(0) if waiting else 0

    def ready(self, name: str) -> bool:
        with self._lock:
            self._polled[name] += 1
            return self._polled[name] > self.polls

    def cut(self) -> int | None:
        with self._lock:
            return self.cuts.pop(0) if self.cuts else None


@contextmanager
def serve_fleet_api(api: FleetApi) -> Iterator[FleetApi]:
    """Serves until the block ends."""
    with _listening(_service(api)) as service, _listening(_presigned(api)) as presigned:
        api.url, api.presigned = service, presigned
        yield api


@contextmanager
def _listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to tell."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    api: FleetApi
    port: str
    protocol_version = "HTTP/1.1"
    # Head and body of a reply are sent one after the other.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        authorization, wanted = self.headers.get("Authorization", ""), self.headers.get("Range", "")
        self.api.note(Asked(self.port, self.command, parts.path, query, authorization, time.monotonic(), wanted))
        try:
            self.answer(parts.path, query)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, path: str, query: dict[str, str]) -> None:
        raise NotImplementedError

    def reply(self, status: int, body: bytes = b"", kind: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        length = len(body) + (10 if self.api.lie_about_length and len(body) > 10_000 else 0)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.api.cut() if len(body) > 10_000 else None
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None or length != len(body):
            self.close_connection = True

    def reply_in_chunks(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, 0 if self.command == "HEAD" else len(body), 5000):
            chunk = body[start : start + 5000]
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        if self.command != "HEAD":
            self.wfile.write(b"0\r\n\r\n")


def _service(served: FleetApi) -> type[BaseHTTPRequestHandler]:
    class Service(_Handler):
        api, port = served, "service"

        def answer(self, path: str, query: dict[str, str]) -> None:
            if self.headers.get("Authorization") != f"Bearer {self.api.token}":
                return self.reply(401)
            if fault := self.api.fault(path):
                return self.reply(fault, Retry_After=self.api.retry_after)
            return self.video(query) if path == "/v1/video" else self.download(query)

        def video(self, query: dict[str, str]) -> None:
            if self.api.raw_reply is not None:
                return self.reply(200, self.api.raw_reply[1], self.api.raw_reply[0])
            key = (query["vehicle"], query["camera"], int(query["startTime"]))
            if key not in self.api.bags:
                return self.reply(self.api.no_footage, b"nothing here")
            name = "{}_{}_{}.bag".format(*key)
            forms: dict[str, tuple[str, Any]] = {
                "json": ("application/json", json.dumps({"filename": name})),
                "string": ("application/json", json.dumps(name)),
                "text": ("text/plain", name + "\n"),
            }
            kind, text = forms[self.api.name_form]
            return self.reply(200, text.encode(), kind)

        def download(self, query: dict[str, str]) -> None:
            name = query["filename"]
            if self.command == "HEAD" and not self.api.head:
                return self.reply(405)
            if not self.api.ready(name):
                return self.reply(self.api.not_ready)
            return self.give(name, f"{self.api.presigned}/bags/{name}?{SECRET_QUERY}")

        def give(self, name: str, url: str) -> None:
            way, _, status = self.api.way.partition("-")
            if way == "redirect":
                return self.reply(int(status), Location=url)
            bodies: dict[str, Callable[[], tuple[bytes, str]]] = {
                "text": lambda: (url.encode(), "text/plain"),
                "json": lambda: (json.dumps({"url": url}).encode(), "application/json"),
                "binary": lambda: (url.encode() + b"\0\0\0rest", "application/octet-stream"),
                "direct": lambda: (self.api.bag(name), "application/octet-stream"),
            }
            if way == "chunked":
                return self.reply_in_chunks(self.api.bag(name))
            return self.reply(200, *bodies[way](), Content_Disposition='attachment; filename="../../evil.bag"')

    return Service


def _presigned(served: FleetApi) -> type[BaseHTTPRequestHandler]:
    class Presigned(_Handler):
        api, port = served, "presigned"

        def answer(self, path: str, query: dict[str, str]) -> None:
            if fault := self.api.fault("/bags"):
                return self.reply(fault)
            body, etag = self.api.bag(path.rpartition("/")[2]), '"one"'
            wanted = self.headers.get("Range", "")
            if wanted and self.api.ranges and self.headers.get("If-Range") == etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                where = f"bytes {start}-{len(body) - 1}/{len(body)}"
                return self.reply(206, body[start:], "application/octet-stream", ETag=etag, Content_Range=where)
            return self.reply(200, body, "application/octet-stream", ETag=etag)

    return Presigned

"""A server that takes uploads in parts and forgets their bytes: no bottleneck, no disk, and no signatures.

    python -m benchmarks.upload_server

Prints its port. The etag of a part is the MD5 that the client sends with it (Content-MD5), unchecked, so that the
MD5 of an object of such parts comes out as S3 gives it. Small objects are kept.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, unquote, urlsplit

SMALL_BYTES = 8 * 1024**2


def main() -> None:
    """Serves until it is killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


class Handler(BaseHTTPRequestHandler):
    """The calls of an upload."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    parts: dict[str, dict[int, tuple[int, bytes]]] = {}  # noqa: RUF012
    objects: dict[str, tuple[int, str, bytes]] = {}  # noqa: RUF012
    guard = Lock()

    def do_PUT(self) -> None:
        key, query = self._asked()
        length, body = int(self.headers.get("Content-Length", 0)), b""
        if "partNumber" in query:
            self._drain(length)
            md5 = base64.b64decode(self.headers.get("Content-MD5", "")) or hashlib.md5(b"").digest()
            with self.guard:
                self.parts[query["uploadId"]][int(query["partNumber"])] = (length, md5)
            self._answer(200, etag=md5.hex())
            return
        body = self.rfile.read(length)
        etag = hashlib.md5(body).hexdigest()
        self.objects[key] = (length, etag, body)
        self._answer(200, etag=etag)

    def do_POST(self) -> None:
        key, query = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploads" in query:
            upload_id = uuid.uuid4().hex
            self.parts[upload_id] = {}
            inner = f"<Bucket>bucket</Bucket><Key>{key}</Key><UploadId>{upload_id}</UploadId>"
            self._xml("InitiateMultipartUploadResult", inner)
            return
        sent = self.parts.pop(query["uploadId"])
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)<", body)]
        etag = f"{hashlib.md5(b''.join(sent[n][1] for n in numbers)).hexdigest()}-{len(numbers)}"
        self.objects[key] = (sum(sent[n][0] for n in numbers), etag, b"")
        self._xml("CompleteMultipartUploadResult", f"<ETag>&quot;{etag}&quot;</ETag>")

    def do_GET(self) -> None:
        key, query = self._asked()
        if not key.partition("/")[2]:
            kind = "ListMultipartUploadsResult" if "uploads" in query else "ListBucketResult"
            self._xml(kind, "<IsTruncated>false</IsTruncated>")
        elif key in self.objects:
            size, etag, body = self.objects[key]
            self._answer(200, body, etag=etag, size=size)
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self._answer(204)

    def _asked(self) -> tuple[str, dict[str, str]]:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        return unquote(url.path).removeprefix("/"), query

    def _drain(self, length: int) -> None:
        buffer = memoryview(bytearray(1024 * 1024))
        while length:
            taken = self.rfile.readinto(buffer[: min(length, len(buffer))])  # type: ignore[attr-defined]
            if not taken:
                raise ConnectionResetError
            length -= taken

    def _xml(self, root: str, inner: str) -> None:
        self._answer(200, f'<?xml version="1.0"?><{root}>{inner}</{root}>'.encode())

    def _answer(self, status: int, body: bytes = b"", *, etag: str = "", size: int | None = None) -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if status != 204:
            self.send_header("Content-Length", str(len(body) if size is None or self.command != "HEAD" else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    main()

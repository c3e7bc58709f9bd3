"""A server that takes uploads in parts and forgets their bytes: no bottleneck, no disk, and no signatures.

    python -m benchmarks.upload_server

Prints its port. It takes the checksum that a client sends with a part, its MD5 (Content-MD5) or its CRC64NVME, for the
part's, unchecked, so that the etag or the CRC64NVME of an object of such parts comes out as S3 gives it. Small objects
are kept.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, unquote, urlsplit

from video_assets.storage.crc import joined

CRC_HEADER = "x-amz-checksum-crc64nvme"
NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Part:
    """What is kept of a part; either checksum may be empty."""

    size_bytes: int
    md5: bytes
    crc: bytes


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
    parts: dict[str, dict[int, Part]] = {}  # noqa: RUF012
    objects: dict[str, tuple[int, str, str, bytes]] = {}  # noqa: RUF012
    guard = Lock()

    def do_PUT(self) -> None:
        key, query = self._asked()
        length, body = int(self.headers.get("Content-Length", 0)), b""
        if "partNumber" in query:
            self._drain(length)
            md5 = base64.b64decode(self.headers.get("Content-MD5", "")) or hashlib.md5(b"").digest()
            crc = self.headers.get(CRC_HEADER, "")
            with self.guard:
                self.parts[query["uploadId"]][int(query["partNumber"])] = Part(length, md5, base64.b64decode(crc))
            self._answer(200, etag=md5.hex(), headers={CRC_HEADER: crc} if crc else {})
            return
        body = self.rfile.read(length)
        etag = hashlib.md5(body).hexdigest()
        self.objects[key] = (length, etag, "", body)
        self._answer(200, etag=etag)

    def do_POST(self) -> None:
        key, query = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploads" in query:
            upload_id = uuid.uuid4().hex
            self.parts[upload_id] = {}
            inner = f"<Bucket>bucket</Bucket><Key>{key}</Key><UploadId>{upload_id}</UploadId>"
            asked = self.headers.get("x-amz-checksum-algorithm", "")
            headers = {"x-amz-checksum-algorithm": asked, "x-amz-checksum-type": "FULL_OBJECT"} if asked else {}
            self._xml("InitiateMultipartUploadResult", inner, headers)
            return
        sent = self.parts.pop(query["uploadId"])
        parts = [sent[int(number)] for number in re.findall(rb"<PartNumber>(\d+)<", body)]
        etag = f"{hashlib.md5(b''.join(part.md5 for part in parts)).hexdigest()}-{len(parts)}"
        self.objects[key] = (sum(part.size_bytes for part in parts), etag, _joined(parts), b"")
        self._xml("CompleteMultipartUploadResult", f"<ETag>&quot;{etag}&quot;</ETag>")

    def do_GET(self) -> None:
        key, query = self._asked()
        if not key.partition("/")[2]:
            kind = "ListMultipartUploadsResult" if "uploads" in query else "ListBucketResult"
            self._xml(kind, "<IsTruncated>false</IsTruncated>")
        elif key in self.objects:
            size, etag, crc, body = self.objects[key]
            headers = {CRC_HEADER: crc, "x-amz-checksum-type": "FULL_OBJECT"} if crc else {}
            self._answer(200, body, etag=etag, size=size, headers=headers)
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

    def _xml(self, root: str, inner: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self._answer(200, f'<?xml version="1.0"?><{root}>{inner}</{root}>'.encode(), headers=headers)

    def _answer(
        self,
        status: int,
        body: bytes = b"",
        *,
        etag: str = "",
        size: int | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
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


def _joined(parts: list[Part]) -> str:
    """The CRC64NVME of the parts joined, as S3 writes it; nothing where one came without."""
    if not all(part.crc for part in parts):
        return ""
    crc = 0
    for part in parts:
        crc = joined("CRC64-NVME", crc, int.from_bytes(part.crc, "big"), part.size_bytes)
    return base64.b64encode(crc.to_bytes(8, "big")).decode()


if __name__ == "__main__":
    main()

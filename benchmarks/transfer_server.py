"""A server that speaks as much of S3 as downloads need, and sends files by sendfile: no bottleneck, and no signatures.

    python -m benchmarks.transfer_server FOLDER

`GET` and `HEAD` of `/bucket/key`, whole or a range, and a listing of one page. Prints its port. An etag is the MD5 of a
file of up to 64 MiB, as S3 gives it for an object put at once, and of the form of one put in parts above. The CRC64NVME
that S3 has of every object is told where it is asked for. Both are summed before the port is printed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from video_assets.storage.crc import Crc

AT_ONCE_BYTES = 64 * 1024**2


def main() -> None:
    """Serves until it is killed."""
    root = Path(sys.argv[1])
    for path in root.rglob("*.*"):
        _etag(path), _crc(path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(root))
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


@cache
def _crc(path: Path) -> str:
    digest = Crc("CRC64-NVME")
    with path.open("rb") as file:
        while data := file.read(2**20):
            digest.update(data)
    return base64.b64encode(digest.digest()).decode()


@cache
def _etag(path: Path) -> str:
    if path.stat().st_size > AT_ONCE_BYTES:
        return f'"{hashlib.md5(str(path.stat().st_size).encode()).hexdigest()}-2"'
    return f'"{hashlib.md5(path.read_bytes()).hexdigest()}"'


def _handler(root: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            _, _, key = unquote(url.path).removeprefix("/").partition("/")
            if not key:
                self._text(_listing(root, parse_qs(url.query).get("prefix", [""])[0]))
                return
            path = root / key
            size, span = path.stat().st_size, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start = int(span[1]) if span else 0
            end = min(size, int(span[2]) + 1) if span and span[2] else size
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", str(end - start))
            if span:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.send_header("ETag", _etag(path))
            self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
            self.send_header("Accept-Ranges", "bytes")
            if self.headers.get("x-amz-checksum-mode") == "ENABLED" and not span:
                self.send_header("x-amz-checksum-crc64nvme", _crc(path))
                self.send_header("x-amz-checksum-type", "FULL_OBJECT")
            self.end_headers()
            if self.command == "GET":
                self._send(path, start, end)

        def _send(self, path: Path, start: int, end: int) -> None:
            self.wfile.flush()
            with path.open("rb") as file:
                while start < end:
                    start += os.sendfile(self.connection.fileno(), file.fileno(), start, end - start)

        def _text(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _listing(root: Path, prefix: str) -> bytes:
    keys = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>{_etag(root / key)}</ETag><Size>{(root / key).stat().st_size}</Size></Contents>"
        for key in keys
        if key.startswith(prefix)
    )
    listing = f"<Name>bucket</Name><Prefix>{prefix}</Prefix><IsTruncated>false</IsTruncated>{contents}"
    return f'<?xml version="1.0"?><ListBucketResult>{listing}</ListBucketResult>'.encode()


if __name__ == "__main__":
    main()

"""The part of the Hugging Face hub's HTTP interface that a download of a repository uses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40


@contextlib.contextmanager
def serving(repositories: Mapping[str, Path]) -> Iterator[str]:
    """Serve folders as repositories of one commit on a loopback port; gives the hub's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, repositories))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, repositories: Mapping[str, Path], *connection: object) -> None:
        self.repositories = repositories
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        for name, folder in self.repositories.items():
            if self.path.startswith(f"/api/models/{name}/tree/"):
                files = [
                    {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": _etag(path)}
                    for path in sorted(folder.iterdir())
                ]
                return self._answer(json.dumps(files).encode())
            if self.path.startswith(f"/api/models/{name}"):
                siblings = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
                about = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}
                return self._answer(json.dumps(about).encode())
            if self.path.startswith(f"/{name}/resolve/{COMMIT}/"):
                path = folder / Path(self.path).name
                if path.is_file():
                    return self._answer(path.read_bytes(), {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT})
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    do_HEAD = do_GET

    def _answer(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()

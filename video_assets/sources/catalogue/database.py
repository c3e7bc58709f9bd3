"""A connection to the catalogue's database that comes back when it is lost."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import SecretStr

from video_assets.errors import VideoAssetsError, raise_alone
from video_assets.sources.catalogue.names import Names

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[dict[str, Any]]

T = TypeVar("T")

AWAY_S = 600.0
"""How long a database that was there may be away."""

_WAIT_S = (0.1, 15.0)
"""The first and the longest wait between two tries."""

_OPTIONS: Mapping[str, Any] = {
    "connect_timeout": 10,
    "application_name": "video_assets",
    # A peer that is gone without a word is noticed within a minute.
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "options": "-c timezone=UTC",
}


class CatalogueError(VideoAssetsError):
    """A catalogue that cannot be used as it is: its address, its table, or a right that is missing."""


class CatalogueUnavailable(CatalogueError):
    """A catalogue's database that cannot be reached."""


class Database:
    """Transactions on one connection; one thread's at a time.

    Args:
        url: of the database, password and all; it is never shown.
        names: of the tables and columns.
        away_s: for how long a connection that was lost is tried to be made again. The first is tried once: a wrong
            address is told at once.
        on_away: takes a line when the database goes away, and one when it is back.
        give_up: asked while it is away: whether nobody wants to wait any more.
    """

    def __init__(
        self,
        url: SecretStr,
        names: Names,
        *,
        away_s: float = AWAY_S,
        on_away: Callable[[str], None] = lambda line: None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.names = names
        self._url = url
        self._away_s = away_s
        self._on_away = on_away
        self._give_up = give_up
        self._connection: Connection | None = None
        self._was_there = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; the next transaction makes another."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None

    def transaction(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a transaction, again if the connection is lost or a deadlock was broken up.

        A commit whose answer is lost is run again too: `work` must be good for that.

        Raises:
            CatalogueUnavailable: the database cannot be reached, or was away for too long.
            CatalogueError: it refuses what it is asked.
        """
        deadline, wait_s, told = time.monotonic() + self._away_s, _WAIT_S[0], False
        while True:
            try:
                connection = self._connect()
                with connection.transaction():
                    done = work(connection)
            except CatalogueUnavailable as error:
                if not self._was_there or time.monotonic() >= deadline or self._give_up():
                    raise
                if not told:
                    self._on_away(f"{error.item}: {error.cause}. Trying again for {self._away_s:g} s.")
                    told = True
            except Exception as error:
                if not self._is_passing(error):
                    if (refusal := _refusal(error, self._where())) is not None:
                        raise_alone(refusal)
                    raise
            else:
                self._was_there = True
                if told:
                    self._on_away(f"{self._where()} is back")
                return done
            time.sleep(random.uniform(0.5, 1) * wait_s)  # noqa: S311
            wait_s = min(_WAIT_S[1], wait_s * 2)

    def execute(self, text: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """One statement as a transaction of its own; its rows, if it gives any."""
        return self.transaction(lambda connection: run(connection, self.names, text, values))

    def _connect(self) -> Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        psycopg = import_psycopg()
        from psycopg.rows import dict_row

        try:
            self._connection = psycopg.connect(
                self._url.get_secret_value(), row_factory=dict_row, autocommit=True, **_OPTIONS
            )
        except psycopg.OperationalError as error:
            remedy = "Start it, or correct VIDEO_ASSETS_CATALOGUE_URL."
            raise_alone(CatalogueUnavailable(self._where(), f"cannot be reached: {_first_line(error)}", remedy))
        except psycopg.Error:
            # Its words may quote the address.
            remedy = "Write postgresql://user:password@host/database."
            raise_alone(CatalogueError("VIDEO_ASSETS_CATALOGUE_URL", "is no address of a database", remedy))
        return self._connection

    def _is_passing(self, error: Exception) -> bool:
        """Whether the same may go well another time: a lost connection, a deadlock."""
        psycopg = import_psycopg()
        if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return False
        if self._connection is None or self._connection.closed:
            self.close()
            return True
        return isinstance(error, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure)

    def _where(self) -> str:
        """Host and database, for messages."""
        try:
            from psycopg.conninfo import conninfo_to_dict

            known = conninfo_to_dict(self._url.get_secret_value())
        except Exception:
            return "the catalogue's database"
        return f"the catalogue's database {known.get('dbname') or ''} on {known.get('host') or 'this machine'}"


def run(
    connection: Connection, names: Names, text: str, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """One statement within a transaction; its rows, if it gives any."""
    cursor = connection.execute(names.compose(text), values)
    return cursor.fetchall() if cursor.description else []


def import_psycopg() -> Any:
    """The driver; raises CatalogueError with the install command where the extra is missing."""
    try:
        import psycopg
    except ImportError:
        remedy = "Run: pip install 'video-assets[catalogue]'"
        raise CatalogueError("a catalogue", "needs psycopg, which is not installed", remedy) from None
    return psycopg


def _refusal(error: Exception, where: str) -> CatalogueError | None:
    """What the database refuses, in our words; None for an error that is not its own."""
    psycopg = import_psycopg()
    if not isinstance(error, psycopg.Error):
        return None
    missing = psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn
    remedy = ""
    if isinstance(error, missing):
        remedy = "Run `video-assets catalogue migrate`; VIDEO_ASSETS_CATALOGUE_TABLE and _COLUMNS name what is there."
    elif isinstance(error, psycopg.errors.InsufficientPrivilege):
        remedy = "Grant the right; docs/catalogue.md lists what is needed."
    return CatalogueError(where, f"refused: {_first_line(error)}", remedy)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

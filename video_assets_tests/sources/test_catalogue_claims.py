"""Claims on a real Postgres: no record twice, leases, attempts and back-off, and connections that break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from video_assets.doctor.catalogue import catalogue_finding
from video_assets.settings import Settings
from video_assets.sources.catalogue.catalogue import open_claims, open_database
from video_assets.sources.catalogue.claims import Claims, Ending
from video_assets.sources.catalogue.database import CatalogueError, CatalogueUnavailable, Database
from video_assets.sources.catalogue.lease import Lease
from video_assets.sources.catalogue.migrate import migrate
from video_assets.sources.catalogue.names import Names
from video_assets.sources.catalogue.status import catalogue_status
from video_assets_tests.servers.postgres_server import PASSWORD, PostgresServer

DONE, NOTHING = (True, True, True), (False, False, False)


class Catalogue:
    """A migrated database, and what tests do to it."""

    def __init__(self, url: str, **changes: Any) -> None:
        self.url = url
        self.settings = Settings(catalogue_url=SecretStr(url), source="/videos", **changes)
        self.client = psycopg.connect(url, autocommit=True)
        with open_database(self.settings) as database:
            migrate(database)
        self._databases: list[Database] = []

    def claims(self, worker: str, **changes: Any) -> Claims:
        """The claims of a worker with a connection of its own."""
        self._databases.append(open_database(self.settings))
        found = open_claims(self.settings, self._databases[-1], worker)
        return Claims(**{name: getattr(found, name) for name in Claims.__dataclass_fields__} | changes)

    def add(self, count: int, day: str = "2026-01-03") -> list[int]:
        rows = self.client.execute(
            "INSERT INTO content (platform, code, publish_date) "
            "SELECT 'veh', gen_random_uuid()::text, %s FROM generate_series(1, %s) RETURNING id",
            (day, count),
        ).fetchall()
        return [row[0] for row in rows]

    def one(self, query: str, *values: Any) -> Any:
        row = self.client.execute(query, values).fetchone()
        assert row is not None
        return row[0]

    def close(self) -> None:
        self.client.close()
        for database in self._databases:
            database.close()


@pytest.fixture
def catalogue(catalogue_url: str) -> Iterator[Catalogue]:
    found = Catalogue(catalogue_url)
    yield found
    found.close()


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ids(records: list[Any]) -> list[int]:
    return [record.id for record in records]


def test_workers_that_claim_at_once_share_the_records_and_none_is_taken_twice(catalogue: Catalogue) -> None:
    wanted = set(catalogue.add(400))
    workers = [catalogue.claims(f"worker-{number}") for number in range(8)]
    begin = threading.Barrier(len(workers))

    def take_all(claims: Claims) -> list[int]:
        begin.wait()
        taken: list[int] = []
        while found := claims.take(7):
            taken += ids(found)
        return taken

    with ThreadPoolExecutor(len(workers)) as pool:
        taken = [number for found in pool.map(take_all, workers) for number in found]
    assert sorted(taken) == sorted(wanted)


def test_the_newest_are_taken_first_and_those_without_a_date_last(catalogue: Catalogue) -> None:
    (old,), (new,), (newer,) = (
        catalogue.add(1, "2026-01-01"),
        catalogue.add(1, "2026-01-05"),
        catalogue.add(1, "2026-01-05"),
    )
    undated = catalogue.one("INSERT INTO content (platform, code) VALUES ('veh', 'x') RETURNING id")
    claims = catalogue.claims("one")
    assert ids(claims.peek(9)) == [newer, new, old, undated]
    assert ids(claims.take(3)) == [newer, new, old]
    assert ids(claims.take(3)) == [undated]
    assert claims.take(3) == []


def test_records_of_a_dead_worker_are_free_when_its_lease_ends(catalogue: Catalogue) -> None:
    catalogue.add(3)
    dead = catalogue.claims("dead", lease_s=0.5)
    held = ids(dead.take(2))
    heir = catalogue.claims("heir")
    first = ids(heir.take(5))
    assert len(first) == 1
    eventually(lambda: bool(heir.peek(5)))
    assert sorted(ids(heir.take(5))) == sorted(held)
    assert dead.end([Ending(held[0], DONE, "done")]) == set(), "it is no longer its own"
    assert not catalogue.one("SELECT is_embedded FROM content WHERE id = %s", held[0])
    assert dead.renew(held) == set()


def test_a_lease_is_renewed_while_its_worker_lives(catalogue: Catalogue) -> None:
    (held,) = catalogue.add(1)
    claims = catalogue.claims("busy", lease_s=0.6)
    other, faults = catalogue.claims("other"), list[str]()
    with Lease(catalogue.claims("busy", lease_s=0.6), faults.append) as lease:
        lease.hold(ids(claims.take(1)))
        until = catalogue.one("SELECT leased_until FROM extraction_attempts")
        # Twice the lease later it is still held.
        eventually(lambda: catalogue.one("SELECT now() > %s + interval '0.6 s'", until))
        assert other.take(1) == []
        # Another takes it over, as after a long sleep: the worker is told once, and lets go.
        catalogue.client.execute("UPDATE extraction_attempts SET worker = 'other'")
        eventually(lambda: lease.held() == set())
    assert faults == ["1 records were taken over by others: their leases had ended"]
    assert held


def test_a_failed_record_waits_longer_each_time_and_is_given_up(catalogue: Catalogue) -> None:
    (number,) = catalogue.add(1)
    claims = catalogue.claims("one", max_attempts=3, retry_s=100.0)
    for attempt, wait_s in ((1, 100), (2, 200), (3, 400)):
        assert ids(claims.take(1)) == [number]
        claims.end([Ending(number, (True, False, False), "failed", "decode", "broken")])
        assert claims.take(1) == []
        waits = catalogue.one("SELECT extract(epoch FROM next_attempt_at - now()) FROM extraction_attempts")
        assert wait_s - 20 < waits <= wait_s, attempt
        catalogue.client.execute("UPDATE extraction_attempts SET next_attempt_at = now()")
    assert claims.take(1) == []
    status = catalogue_status(claims.database, 3)
    assert (status.states["given_up"], status.downloaded, status.extracted) == (1, 1, 0)
    assert (status.failures[0].stage, status.failures[0].message, status.failures[0].attempts) == (
        "decode",
        "broken",
        3,
    )


def test_a_bad_record_is_tried_again_when_it_was_changed(catalogue: Catalogue) -> None:
    (number,) = catalogue.add(1)
    claims = catalogue.claims("one")
    claims.take(1)
    claims.end([Ending(number, (True, False, False), "failed", "probe", "no video", retryable=False)])
    assert catalogue.one("SELECT next_attempt_at = 'infinity' FROM extraction_attempts")
    assert claims.take(1) == []
    catalogue.client.execute("UPDATE content SET updated_at = now()")
    assert ids(claims.take(1)) == [number]
    assert catalogue.one("SELECT attempts FROM extraction_attempts") == 0, "it is another record now"


def test_a_change_while_a_record_is_in_hand_is_not_taken_for_seen(catalogue: Catalogue) -> None:
    (number,) = catalogue.add(1)
    claims = catalogue.claims("one")
    claims.take(1)
    catalogue.client.execute("UPDATE content SET updated_at = now()")
    claims.end([Ending(number, NOTHING, "failed", "probe", "no video", retryable=False)])
    assert ids(claims.take(1)) == [number]


def test_flags_and_attempts_are_written_together_and_released_records_are_free(catalogue: Catalogue) -> None:
    first, second = catalogue.add(2)
    claims = catalogue.claims("one")
    claims.take(2)
    assert claims.end([Ending(first, DONE, "done")]) == {first}
    claims.release([second])
    assert ids(catalogue.claims("two").take(2)) == [second]
    row = catalogue.client.execute(
        "SELECT worker, leased_until, done_at IS NULL FROM extraction_attempts WHERE record_id = %s", (first,)
    ).fetchone()
    assert row == (None, None, False)
    assert catalogue.one("SELECT updated_at > created_at FROM content WHERE id = %s", first)


def test_what_something_else_made_is_confirmed_unless_a_worker_has_it_in_hand(catalogue: Catalogue) -> None:
    first, second = catalogue.add(2)
    assert ids(catalogue.claims("busy").take(1)) == [second]
    written = catalogue.claims("dagster").confirm([Ending(first, DONE, "done"), Ending(second, DONE, "done")])
    assert written == {first}


def test_a_connection_that_is_cut_is_made_again(catalogue: Catalogue, postgres: PostgresServer) -> None:
    catalogue.add(1)
    claims = catalogue.claims("one")
    claims.peek(1)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'video_assets'"
    catalogue.client.execute(cut)
    assert len(claims.take(1)) == 1


def test_a_server_that_restarts_is_waited_for_and_told_once(catalogue: Catalogue, postgres: PostgresServer) -> None:
    catalogue.add(1)
    told: list[str] = []
    database = open_database(catalogue.settings, on_away=told.append)
    claims = open_claims(catalogue.settings, database, "one")
    claims.peek(1)
    postgres.stop()
    starter = threading.Thread(target=lambda: (eventually(lambda: bool(told)), postgres.start()))
    starter.start()
    assert len(claims.take(1)) == 1
    starter.join()
    database.close()
    assert "cannot be reached" in told[0]
    assert told[1].endswith("is back")
    assert len(told) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda url: url.replace(PASSWORD, "wr0ng-secret"), "password authentication failed"),
        (lambda url: url.rpartition("/")[0] + "/nowhere", 'database "nowhere" does not exist'),
        (lambda url: "postgresql://u:wr0ng-secret%zz@127.0.0.1/x", "is no address of a database"),
        (lambda url: "postgresql://u:wr0ng-secret@127.0.0.1:1/x", "cannot be reached"),
    ],
)
def test_a_wrong_address_is_told_at_once_and_no_password_with_it(
    catalogue_url: str, change: Callable[[str], str], says: str
) -> None:
    begun = time.monotonic()
    database = Database(SecretStr(change(catalogue_url)), Names("content", ()))
    with pytest.raises(CatalogueError, match=says) as caught:
        database.execute("SELECT 1 AS one")
    assert time.monotonic() - begun < 10
    error: BaseException | None = caught.value
    while error is not None:
        assert "wr0ng" not in f"{error!r}{error}"
        error = error.__cause__ or error.__context__


def test_a_table_that_is_missing_names_the_command_that_makes_it(catalogue_url: str) -> None:
    settings = Settings(catalogue_url=SecretStr(catalogue_url), source="/videos")
    with open_database(settings) as database, pytest.raises(CatalogueError, match="catalogue migrate"):
        open_claims(settings, database, "one").take(1)


def test_somebody_elses_table_with_other_names_is_used_as_it_is(catalogue_url: str) -> None:
    with psycopg.connect(catalogue_url, autocommit=True) as client:
        client.execute("CREATE SCHEMA fleet")
        client.execute(
            'CREATE TABLE fleet."Videos" ("Key" int PRIMARY KEY, site text, bvid text UNIQUE, dl bool, is_extracted '
            "bool, is_embedded bool, published timestamptz, created_at timestamp, updated_at timestamp)"
        )
        client.execute("""INSERT INTO fleet."Videos" VALUES (1, 's', 'b', NULL, NULL, NULL, '2026-01-03T12:00Z')""")
    names = "id=Key,platform=site,code=bvid,is_downloaded=dl,publish_date=published"
    settings = Settings(
        catalogue_url=SecretStr(catalogue_url),
        catalogue_table="fleet.Videos",
        catalogue_columns=names,
        source="/videos",
    )
    with open_database(settings) as database:
        migrate(database)
        migrate(database)
        claims = open_claims(settings, database, "one")
        (record,) = claims.take(5)
        assert (record.id, record.platform, record.code, record.flags) == (1, "s", "b", NOTHING)
        assert claims.end([Ending(1, DONE, "done")]) == {1}
        assert claims.take(5) == []
        assert catalogue_status(database, 3).states["done"] == 1


def test_a_table_that_lacks_columns_is_left_alone(catalogue_url: str) -> None:
    with psycopg.connect(catalogue_url, autocommit=True) as client:
        client.execute("CREATE TABLE content (id int PRIMARY KEY, code text)")
        settings = Settings(catalogue_url=SecretStr(catalogue_url), source="/videos")
        with (
            open_database(settings) as database,
            pytest.raises(CatalogueError, match="has no column platform, is_down"),
        ):
            migrate(database)
        tables = client.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'extraction%'").fetchone()
        assert tables == (0,)


def test_a_database_that_stays_away_is_given_up_in_time(catalogue_url: str) -> None:
    away = Database(SecretStr("postgresql://u:p@127.0.0.1:1/x"), Names("content", ()), away_s=1)
    away._was_there = True
    begun = time.monotonic()
    with pytest.raises(CatalogueUnavailable):
        away.execute("SELECT 1 AS one")
    assert 1 <= time.monotonic() - begun < 30


def test_the_doctor_looks_at_the_database_and_at_what_is_next(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "veh").mkdir()
    places = {"source": str(tmp_path), "store": "/videos-store", "index": "/videos-index"}
    settings = Settings(catalogue_url=SecretStr(catalogue.url), **places)
    empty = catalogue_finding(settings)
    assert empty is not None
    assert (empty.verdict, empty.text) == ("ok", "content: no records yet")
    catalogue.client.execute("INSERT INTO content (platform, code, publish_date) VALUES ('veh', 'a', '2026-01-03')")
    missing = catalogue_finding(settings)
    assert missing is not None
    assert missing.verdict == "warning"
    assert "1 waiting; 1 of the next 1 cannot be used, e.g. file://" in missing.text
    (tmp_path / "veh/a.mp4").write_bytes(b"x")
    found = catalogue_finding(settings)
    assert found is not None
    assert (found.verdict, found.text) == ("ok", "content: 1 waiting")

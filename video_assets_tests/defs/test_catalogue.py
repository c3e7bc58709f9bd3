"""A catalogue in Dagster: the source of manifests, a sensor that misses nothing, and flags written back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from video_assets.defs import catalogue as defs_catalogue
from video_assets.defs import sensors
from video_assets.defs.assets.catalogue_flags import catalogue_flags
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.catalogue.catalogue import open_database
from video_assets.sources.catalogue.news import News, NewsCursor
from video_assets.sources.registry import open_source
from video_assets.stages.manifest import build_manifest
from video_assets.stages.unmatched import build_unmatched
from video_assets.tables import CHAIN
from video_assets_tests.stages.catalogue_home import CatalogueHome

DAY = Partition("2026-01-03", "veh-1")


@dataclass
class Fleet:
    """A home, and a Dagster instance that is forgotten."""

    home: CatalogueHome
    instance: dg.DagsterInstance

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        context = dg.build_sensor_context(instance=self.instance, cursor=cursor)
        result = defs_catalogue.catalogue_sensor(context)
        assert isinstance(result, dg.SensorResult), result
        return result

    def asked(self, result: dg.SensorResult) -> list[str]:
        return [str(request.partition_key) for request in result.run_requests or []]


@pytest.fixture
def fleet(tmp_path: Path, catalogue_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    home = CatalogueHome(tmp_path, catalogue_url)
    for module in (defs_catalogue, sensors):
        monkeypatch.setattr(module, "deployment", lambda: (home.settings, home.tables))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("vehicle", ["veh-1", "veh-2"])
        yield Fleet(home, instance)
    home.close()


def test_the_manifest_of_a_day_has_the_records_of_the_day_and_their_objects(fleet: Fleet) -> None:
    home = fleet.home
    home.add("a")
    home.add("b")
    home.add("missing", video=None)
    home.add("c", day="2026-01-04")
    home.add("d", vehicle="veh-2")
    home.add("bad|vehicle", vehicle="veh|1", video=None)
    manifest = build_manifest(DAY, tables=home.tables, settings=home.settings)
    rows = manifest.fold.rows.to_pylist()
    assert [(Path(row["video_path"]).stem, row["source"]) for row in rows] == [("a", "catalogue"), ("b", "catalogue")]
    unmatched = build_unmatched(tables=home.tables, settings=home.settings)
    reasons = sorted(row["error_msg"] for row in unmatched.fold.rows.to_pylist())
    assert len(reasons) == 2
    assert reasons[0].startswith(
        "is no usable record of the catalogue: record bad|vehicle vehicle id 'veh|1' is not 1 to"
    )
    assert reasons[1] == "is no usable record of the catalogue: record missing is not there"
    state = open_source(home.settings).objects.state()
    home.client.execute("UPDATE content SET is_downloaded = true, updated_at = now()")
    assert open_source(home.settings).objects.state() == state, "flags are no news of the source"
    home.client.execute("UPDATE content SET publish_date = '2026-01-05' WHERE code = 'a'")
    assert open_source(home.settings).objects.state() != state


def test_a_tick_asks_for_the_days_of_new_records_once(fleet: Fleet) -> None:
    fleet.home.add("a")
    fleet.home.add("b")
    fleet.home.add("c", vehicle="veh-9")
    fleet.home.add("old", day="1999-01-01", video=None)
    first = fleet.tick()
    assert sorted(fleet.asked(first)) == ["2026-01-03|veh-1", "2026-01-03|veh-9"]
    (added,) = first.dynamic_partitions_requests or []
    assert added.partition_keys == ["veh-1", "veh-9"]
    again = fleet.tick(first.cursor)
    assert not again.run_requests
    fleet.home.client.execute("UPDATE content SET updated_at = now() WHERE code = 'b'")
    touched = fleet.tick(again.cursor)
    assert fleet.asked(touched) == ["2026-01-03|veh-1"]
    (before,) = [r.run_key for r in first.run_requests or [] if r.partition_key == "2026-01-03|veh-1"]
    assert [request.run_key for request in touched.run_requests or []] != [before]
    assert not fleet.tick(touched.cursor).run_requests


def test_a_record_that_is_committed_after_later_ones_is_not_missed(fleet: Fleet) -> None:
    insert = "INSERT INTO content (platform, code, publish_date) VALUES (%s, %s, '2026-01-03')"
    with psycopg.connect(fleet.home.url) as slow:
        slow.execute(insert, ("veh-1", "slow"))
        fleet.home.client.execute(insert, ("veh-2", "quick"))
        first = fleet.tick()
        assert fleet.asked(first) == ["2026-01-03|veh-2"]
        second = fleet.tick(first.cursor)
        assert not second.run_requests
        slow.commit()
        assert slow.execute("SELECT min(updated_at) < max(updated_at) FROM content").fetchone() == (True,)
    third = fleet.tick(second.cursor)
    assert fleet.asked(third) == ["2026-01-03|veh-1"]
    assert not fleet.tick(third.cursor).run_requests


def test_pages_of_news_miss_nothing_and_a_page_that_is_left_goes_on_where_it_was(fleet: Fleet) -> None:
    fleet.home.client.execute(
        "INSERT INTO content (platform, code, publish_date) SELECT 'veh-1', n::text, '2026-01-03' "
        "FROM generate_series(1, 25) AS n"
    )
    with open_database(fleet.home.settings) as database:
        cursor, seen = NewsCursor(), list[str]()
        for _ in range(10):
            news = News(database, NewsCursor.parse(cursor.dump()), 10, 3)
            for taken, new in enumerate(news):
                if taken == 7:
                    news.leave()
                    break
                seen.append(new.record.code)
            cursor = news.cursor
        assert sorted(map(int, seen)) == list(range(1, 26)), "each once: all have one time of change"


def test_a_record_that_is_due_again_is_news_at_that_time(fleet: Fleet) -> None:
    number = fleet.home.add("a")
    first = fleet.tick()
    fleet.home.client.execute(
        "INSERT INTO extraction_attempts (record_id, attempts, next_attempt_at, content_updated_at) "
        "SELECT id, 1, clock_timestamp() + interval '0.3 s', updated_at FROM content WHERE id = %s",
        (number,),
    )
    second = fleet.tick(first.cursor)
    assert not second.run_requests
    fleet.home.client.execute("SELECT pg_sleep(0.4)")
    third = fleet.tick(second.cursor)
    assert fleet.asked(third) == [DAY.key]
    assert not fleet.tick(third.cursor).run_requests


def test_the_sensor_of_uploads_rests_and_a_database_that_is_away_is_told(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = dg.build_sensor_context(instance=fleet.instance)
    skipped = sensors.upload_sensor(context)
    assert isinstance(skipped, dg.SkipReason)
    assert "the sensor `catalogue`" in (skipped.skip_message or "")
    away = fleet.home.settings.model_copy(
        update={"catalogue_url": type(fleet.home.settings.catalogue_url)("postgresql://u:pass-w0rd@127.0.0.1:1/x")}  # type: ignore[call-arg,misc]
    )
    monkeypatch.setattr(defs_catalogue, "deployment", lambda: (away, fleet.home.tables))
    told = defs_catalogue.catalogue_sensor(context)
    assert isinstance(told, dg.SkipReason)
    assert "cannot be reached" in (told.skip_message or "")
    assert "pass-w0rd" not in (told.skip_message or "")


def test_a_run_of_the_chain_sets_the_flags_of_what_is_there(fleet: Fleet) -> None:
    home = fleet.home
    for code in ("a", "b"):
        home.add(code)
    home.add("no-video", video=b"no video" * 100)
    home.add("missing", video=None)
    assert run_chain(fleet)["done"] == 2
    whole, none = (True, True, True), (False, False, False)
    assert home.flags() == {"a": whole, "b": whole, "no-video": none, "missing": none}
    assert home.count("a.error_stage = 'probe' AND a.next_attempt_at = 'infinity'") == 1
    assert home.count("a.error_stage = 'source' AND a.attempts = 1") == 1
    # The sensor takes its own writing for no news.
    assert not fleet.tick(None).run_requests
    # What is taken away is not there any more.
    for blob in (home.root / "store/clips").rglob("blobs/*"):
        blob.unlink()
    assert confirm(fleet)["done"] == 0
    assert home.flags()["a"] == none


def run_chain(fleet: Fleet) -> dict[str, Any]:
    from video_assets.definitions import defs

    return _run(fleet, [*(asset for asset in defs.assets or [])], [table.name for table in CHAIN])


def confirm(fleet: Fleet) -> dict[str, Any]:
    return _run(fleet, [], [])


def _run(fleet: Fleet, assets: list[Any], names: list[str]) -> dict[str, Any]:
    from video_assets.io_managers.table_io_manager import TableIOManager

    tables = fleet.home.tables
    merged = dg.Definitions(
        assets=[*assets, catalogue_flags],
        resources={"settings": fleet.home.settings, "tables": tables, "io_manager": TableIOManager(tables)},
        jobs=[dg.define_asset_job("run", selection=dg.AssetSelection.assets(*names, "catalogue_flags"))],
        executor=dg.in_process_executor,
    )
    result = merged.resolve_job_def("run").execute_in_process(
        instance=fleet.instance,
        partition_key=DAY.key,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    (event,) = result.asset_materializations_for_node("catalogue_flags")
    return {name: value.value for name, value in event.metadata.items()}


def test_the_code_location_has_sensor_and_flags_where_a_catalogue_is_set(fleet: Fleet) -> None:
    import subprocess
    import sys

    code = (
        "import json; from video_assets.definitions import defs; graph = defs.resolve_asset_graph(); "
        "job = defs.resolve_job_def('chain'); print(json.dumps([sorted(k.to_user_string() for k in "
        "graph.materializable_asset_keys), sorted(s.name for s in defs.sensors), "
        "'catalogue_flags' in job.graph.node_dict]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=fleet.home.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assets, names, is_in_chain = json.loads(done.stdout.splitlines()[-1])
    assert "catalogue_flags" in assets
    assert "catalogue" in names
    assert is_in_chain
    assert isinstance(fleet.home.settings, Settings)
